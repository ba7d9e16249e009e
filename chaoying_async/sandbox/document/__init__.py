"""What the document demands of a message and how it is signed, written apart from the client.

A gateway that shared the client's code would agree with every mistake in it.

- ``endpoints``: which address is which endpoint, and what is special about some endpoints.
- ``requirements``: the parameters of each endpoint, and the rules that they must keep.
- ``signature``: the string to sign, and the sign of a message.
- ``draft_reply``: the status fields of a reply, and the codes of refusals.
- ``http_messages``: requests, responses and forms as they go over the wire.
"""
