"""For ``uvicorn django_shop.asgi:application``: Django, and the handler open around it."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application  # type: ignore[import-untyped]

from chaoying_async.web.asgi import with_lifespan

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "django_shop.settings")
django_application = get_asgi_application()

from django_shop.payments import payments  # noqa: E402 - models can be imported from here on

application = with_lifespan(django_application, payments.opened())
