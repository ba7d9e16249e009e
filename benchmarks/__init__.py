"""How fast, against what one would write by hand: ``python -m benchmarks [--quick] [--json DIR]``.

Every figure is a ratio of two things measured in one run, interleaved, on one machine; absolute
figures are printed beside it and mean little elsewhere. Each peer is written as its own
documentation would have it, as good as we can make it, and does the same work: sign, send, parse,
verify.

- ``throughput``    ``send(OrderQuery)`` against hand-written httpx and aiohttp (needs nginx)
- ``notification``  ``parse_notification`` against ``parse_qsl`` + sort + md5 + ``compare_digest``
- ``import_time``   ``import chaoying_async`` against its own base dependencies
- ``web``           ``notification_app`` against an ASGI app that checks nothing
- ``paid_orders``   ``NotificationHandler`` on ``SqlInbox`` against one transaction by hand
"""
