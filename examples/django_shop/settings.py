"""Django's settings; the gateway's key is not among them, ``payments.py`` takes it from outside."""

from __future__ import annotations

import os
from typing import Any

from sqlalchemy import make_url

DATABASE_URL = os.environ.get("DATABASE_URL", "sqlite+aiosqlite:///shop.db")
SHOP_URL = os.environ.get("SHOP_URL", "http://127.0.0.1:8000")

_url = make_url(DATABASE_URL)
_engines = {
    "sqlite": "django.db.backends.sqlite3",
    "postgresql": "django.db.backends.postgresql",
}
DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "ENGINE": _engines[_url.get_backend_name()],
        "NAME": _url.database,
        "USER": _url.username or "",
        "PASSWORD": _url.password or "",
        "HOST": _url.host or "",
        "PORT": _url.port or "",
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django_shop"]
MIDDLEWARE = ["django.middleware.csrf.CsrfViewMiddleware"]
ROOT_URLCONF = "django_shop.urls"
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
SECRET_KEY = os.environ.get("DJANGO_SECRET_KEY", "only for this machine")
USE_TZ = True
