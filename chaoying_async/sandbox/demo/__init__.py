"""``chaoying demo``: a busy shop against a gateway in another process; the books must agree.

It is written to be read as an example.

- ``command``: the demo from start to end: processes, progress, tables, exit code.
- ``shop``: runs payments, refunds and pre-orders all at once.
- ``sale``: one customer: paying with ``checkout``, and getting money back.
- ``warehouse``: ships what a ``NotificationHandler`` says is paid, each order once.
- ``hostile``: posts messages that none of the shop may believe.
- ``report``: compares the shop's own figures with the gateway's books.
- ``remote_sandbox``: starts a sandbox in a process of its own and speaks to it over HTTP.
"""
