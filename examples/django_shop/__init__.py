"""A shop on Django, behind an ASGI server: each paid order takes effect exactly once.

Django 示例: 订单用 Django 的 ORM 建立；收到通知后，在记录通知的同一个事务里改为已付。

    pip install 'chaoying-async[sandbox,sql]' django
    cd examples
    python -m django_shop --demo        # exit status 0 if all adds up

With what ``chaoying sandbox`` prints in the environment (``export CHAOYING_URL=...`` and so on):

    python -m django migrate --settings django_shop.settings
    uvicorn django_shop.asgi:application

The environment is that of ``fastapi_shop``. ``DATABASE_URL`` serves both, Django's ORM and the
engine of the inbox: it must be the same database.

**Which connection writes what.** Orders are made with Django's ORM, as everywhere in a Django
project. ``on_paid`` (``payments.py``) does *not* use it: Django's ORM has a connection and a
transaction of its own, so ``order.asave()`` in there would be committed although the record of the
notification is not (the process dies, the COMMIT fails), and would be done again with the next
delivery. On SQLite it would even wait, in vain, for the lock that ``on_paid``'s own transaction
holds. So the order's row is written through the SQLAlchemy connection that ``on_paid`` is lent, and
what is committed is both or neither. Signals and ``save()`` methods of the model do not run there.

Behind WSGI use ``sync_notification_view`` with a ``BackgroundHandler``; the rest is the same. For
orders whose notification never comes take ``fastapi_shop/safety_net.py``.
"""
