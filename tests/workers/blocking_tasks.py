"""Tasks of Celery that charge customers, for a worker that a test starts."""

from __future__ import annotations

import os

from celery import Celery  # type: ignore[import-untyped,import-not-found,unused-ignore]

import chaoying_async.pollstore.sql  # noqa: F401 - or a task loads it in the second that it has
from tests.workers.blocking_program import NEVER_PAID, gateway_with_store, sell

FOLDER = os.environ.get("CELERY_FOLDER", "")

app = Celery("shop", broker="filesystem://", backend=f"file://{FOLDER}/results")
app.conf.broker_transport_options = {
    "data_folder_in": f"{FOLDER}/queue",
    "data_folder_out": f"{FOLDER}/queue",
    "control_folder": f"{FOLDER}/control",
}


@app.task  # type: ignore[untyped-decorator,unused-ignore]
def sold(number: str) -> tuple[str, int]:
    """How it ended, and in which process."""
    return sell(number), os.getpid()


@app.task(soft_time_limit=1, time_limit=60)  # type: ignore[untyped-decorator,unused-ignore]
def sold_within_a_second(number: str) -> str:
    """The customer takes longer."""
    return sell(number, NEVER_PAID, gateway_with_store)
