"""The commands of ``chaoying``: each module is named for its command.

- ``check``: asks a gateway, with reads only, whether everything is as we think.
- ``demo``: takes payments against a sandbox of its own and compares the books.
- ``describe``: describes the calls as OpenAPI and the notifications as AsyncAPI.
- ``doctor``: finds the mistake behind a wrong signature.
- ``explain``: explains one order from all that is known of it.
- ``inbox``: lists what waits for a person, and records what that person decides.
- ``listen``: receives notifications, shows them and passes them on.
- ``poller``: serves a fleet's shards as a process of its own; shows a fleet, and cuts it anew.
- ``query``: asks how an order or a refund ended (``query``, ``refund-query``).
- ``sandbox``: serves the gateway on a port of this machine.
- ``send``: sends any request of the document.
- ``sign``: signs a message, or verifies its signature (``sign``, ``verify``).
- ``trigger``: makes a running sandbox produce an event (``trigger``, ``resend``).
- ``watch``: asks about many orders or refunds until it is known how each ended.
"""
