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
"""
