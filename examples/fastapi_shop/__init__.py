"""A shop on FastAPI: pre-orders by QR code, and each paid order shipped exactly once.

FastAPI 示例: 预下单、收通知、发货；订单与通知记录在同一个事务里提交，每单恰好发货一次。

    pip install 'chaoying-async[sandbox,sql]' fastapi
    cd examples
    python -m fastapi_shop --demo       # exit status 0 if all adds up

To look around yourself, start ``chaoying sandbox`` in another terminal, put what it prints into the
environment (``export CHAOYING_URL=...`` and so on), and then:

    uvicorn --factory fastapi_shop.app:create_app
    curl -d '{"item": "coffee"}' -H 'Content-Type: application/json' http://127.0.0.1:8000/orders

=====================  =========================================================================
``CHAOYING_URL``       the sandbox; without it the gateway's own addresses
``CHAOYING_MCH_ID``    your merchant number; key and agent as ``credentials_from_env`` has them
``DATABASE_URL``       SQLAlchemy's, ``sqlite+aiosqlite:///shop.db`` or for instance
                       ``postgresql+psycopg://user:password@host/shop``
``SHOP_URL``           where the gateway reaches this shop; ``http://127.0.0.1:8000`` if not set
=====================  =========================================================================

``orders.py`` is the database: see ``ship``, which runs in the transaction that also records the
notification. ``app.py`` is the web service, ``safety_net.py`` asks about orders that no
notification told of, ``__main__.py`` is the demo and no part of a shop.
"""
