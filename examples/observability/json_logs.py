"""The library's log as JSON lines, through structlog: one line for each call, masked as ever.

用 structlog 把本库日志写成 JSON 行：每次请求一行，照样不含密钥和个人信息。

    pip install 'chaoying-async[sandbox]' structlog
    python examples/observability/json_logs.py

The library logs by Python's ``logging``, under the name ``chaoying_async``. Structlog's
``ProcessorFormatter`` formats those records beside the program's own events. What the library says
of a call stands on the record (``endpoint``, ``order``, ``outcome``, ``elapsed``), of which
``ExtraAdder`` makes fields. Masking is done before anything is logged: no formatter can undo it.
"""

from __future__ import annotations

import asyncio
import logging
import sys

import structlog

from chaoying_async import GatewaySession, OrderQuery, Pay, PayType, SystemClock
from chaoying_async.sandbox import Sandbox


def log_as_json() -> None:
    """Call this once, at the start of the program."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,  # what the program bound: a request's id
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.dict_tracebacks,
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


async def main() -> None:
    """A payment and a query: two lines of the library's, one of the program's."""
    log_as_json()
    log = structlog.get_logger("shop")
    async with (
        Sandbox(clock=SystemClock()) as sandbox,
        GatewaySession(
            sandbox.credentials, mch_id=sandbox.mch_id, transport=sandbox.transport
        ) as gateway,
    ):
        with structlog.contextvars.bound_contextvars(request_id="r-1"):
            await gateway.send(
                Pay(
                    out_trade_no="A1000101",
                    body="coffee",
                    total_fee=1230,
                    auth_code="130000000000001111",
                )
            )
            query = OrderQuery(paytype=PayType.WECHAT, out_trade_no="A1000101")
            reply = await gateway.send(query)
        log.info("paid", out_trade_no="A1000101", fen=reply.unwrap().total_fee)


if __name__ == "__main__":
    asyncio.run(main())
