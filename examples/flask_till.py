"""A till behind Flask: synchronous views that charge customers, in processes that fork.

Flask 收银示例: 同步视图通过 BlockingGateway 收款；gunicorn 多进程多线程，每个进程一个后台事件循环。

    pip install 'chaoying-async[sandbox]' flask gunicorn
    python examples/flask_till.py --demo      # two gunicorn workers, and customers

With what ``chaoying sandbox`` prints in the environment (``export CHAOYING_URL=...`` and so on):

    gunicorn --chdir examples --workers 4 --threads 8 --timeout 400 flask_till:app

``gateway`` is a global that gunicorn may load before it forks: nothing is opened before the first
call, and each process opens its own. A checkout holds its thread until it has ended, five minutes
at most for a customer who walks away: have as many threads as tills, a ``--timeout`` above that,
and give up earlier with ``within`` only with a ``store`` that is looked through afterwards
(``gateway.resume()``).
"""

from __future__ import annotations

import asyncio
import os
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from flask import Flask, request
from serving import free_port, until

from chaoying_async import (
    AttemptInProgressError,
    CheckoutStatus,
    Fen,
    GatewaySession,
    Hosts,
    ParameterError,
    Pay,
    SystemClock,
    credentials_from_env,
)
from chaoying_async.sandbox import Sandbox
from chaoying_async.workers.blocking import BlockingGateway


def session() -> GatewaySession:
    """Made in the background loop of each process."""
    url = os.environ.get("CHAOYING_URL")
    return GatewaySession(
        credentials_from_env(),
        mch_id=os.environ["CHAOYING_MCH_ID"],
        hosts=Hosts.single(url) if url else Hosts.document(),
    )


app = Flask(__name__)
gateway = BlockingGateway(session)


@app.get("/health")
def health() -> dict[str, Any]:
    """Which process answers."""
    return {"process": os.getpid()}


@app.post("/sales/<number>")
def sell(number: str) -> tuple[dict[str, Any], int]:
    """Charge a customer whose code was scanned; 200 says paid, and nothing else does."""
    try:
        pay = Pay(
            out_trade_no=number,
            body="goods",
            total_fee=Fen(int(request.form["total_fee"])),
            auth_code=request.form["auth_code"],
        )
        outcome = gateway.checkout(pay)
    except (ParameterError, ValueError, KeyError):
        return {"status": "REFUSED", "advice": "nothing was sent: correct the sale"}, 400
    except AttemptInProgressError as error:
        return {"status": "REFUSED", "advice": str(error)}, 409
    paid = outcome.status is CheckoutStatus.PAID
    said = {"status": outcome.status, "advice": outcome.advice, "process": os.getpid()}
    return said, 200 if paid else 402


# ----------------------------------------------------------- from here on: the demo, no service

WORKERS, CUSTOMERS, PRICE = 2, 12, 1200


def posted(url: str, number: str) -> tuple[int, bytes]:
    """One customer, as the till's screen sends it."""
    form = urlencode({"total_fee": PRICE, "auth_code": "130000000000000001"}).encode()
    try:
        with urllib.request.urlopen(f"{url}/sales/{number}", form, timeout=60) as answer:  # noqa: S310
            return answer.status, answer.read()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read()


def answers(url: str) -> bool:
    """Whether the shop is served."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5):  # noqa: S310
            return True
    except OSError:
        return False


async def demo() -> bool:
    """Customers at all tills at once; one sale is posted twice."""
    sandbox = Sandbox(clock=SystemClock())
    bound, url = free_port()
    bound.close()
    async with sandbox, sandbox.serve() as gateway_url:
        credentials = sandbox.credentials
        environment = {
            **os.environ,
            "CHAOYING_URL": gateway_url,
            "CHAOYING_AGENT_ID": credentials.agent_id,
            "CHAOYING_KEY": credentials.key,
            "CHAOYING_PID": credentials.pid,
            "CHAOYING_MCH_ID": sandbox.mch_id,
        }
        served = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gunicorn", "flask_till:app", "--preload", "--bind", url[7:]),
            *("--workers", str(WORKERS), "--threads", "8", "--log-level", "warning"),
            cwd=Path(__file__).parent,
            env=environment,
        )
        try:
            await until(lambda: asyncio.to_thread(answers, url))
            numbers = [f"F1X{index:05}" for index in range(CUSTOMERS)]
            with ThreadPoolExecutor(CUSTOMERS) as customers:
                ask = asyncio.get_running_loop().run_in_executor
                calls = (ask(customers, posted, url, number) for number in numbers)
                found = await asyncio.gather(*calls)
                again = await ask(customers, posted, url, numbers[0])
        finally:
            served.terminate()
            ended = await served.wait()
    paid = sum(order.payable for order in sandbox.ledger.orders.values())
    print(f"{[status for status, _ in found].count(200)} sales paid; the same again: {again[0]}")
    print(f"the gateway's books: {paid} fen; gunicorn ended with {ended}")
    return (
        [status for status, _ in found] == [200] * CUSTOMERS
        and again[0] in (402, 409)
        and paid == CUSTOMERS * PRICE
        and ended == 0
    )


def main() -> int:
    """0: everything adds up."""
    if sys.argv[1:] != ["--demo"]:
        print(__doc__)
        return 2
    right = asyncio.run(demo())
    print("Everything adds up." if right else "Something is WRONG.")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
