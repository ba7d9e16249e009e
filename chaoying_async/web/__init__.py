"""Notifications behind your web framework: one small module each, which only translates.

===========================  ==============================  =====================================
framework                    use                             handed in
===========================  ==============================  =====================================
any ASGI server, Litestar,   ``asgi.notification_app``       a ``NotificationHandler``
Quart, Django's ASGI
FastAPI, Starlette           ``fastapi.add_notification_     a ``NotificationHandler``
                             route``
aiohttp.web                  ``aiohttp.notification_         a ``NotificationHandler``
                             handler``
Django, async                ``django.notification_view``    a ``NotificationHandler``
Django, WSGI                 ``django.sync_notification_     a ``background.BackgroundHandler``
                             view``
Flask                        ``flask.add_notification_       a ``background.BackgroundHandler``
                             route``
===========================  ==============================  =====================================

What all of them keep to is in :mod:`chaoying_async.web.contract`. Nothing here opens or closes a
handler that you made (M-17), except where its name says so: ``asgi.with_lifespan`` and
``BackgroundHandler``.

- ``contract``: the rules, limits and answers that all adapters share.
- ``asgi``: an ASGI app, for any ASGI server or framework.
- ``fastapi``: a route for FastAPI and Starlette.
- ``aiohttp``: a request handler for ``aiohttp.web``.
- ``django``: a view for Django behind ASGI, and one for WSGI.
- ``flask``: a route for Flask.
- ``background``: a handler for threads, in an event loop of its own (``BackgroundHandler``).
- ``loop_thread``: an event loop in a thread, with something open in it.
- ``timely``: calls a handler so that the gateway has its answer in time, also when it is not open.
- ``adapter_log``: writes at most one line a minute of each kind, however many strangers post.
"""
