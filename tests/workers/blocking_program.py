"""A shop without an event loop, in a process of its own: one way to use, fork, stop or end it.

    python -m tests.workers.blocking_program HOW

The gateway's address, credentials and the file of the store come by the environment; what happened
is printed as one line of JSON.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import sys
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from chaoying_async import GatewaySession, Hosts, OutcomeUnknownError, Pay, credentials_from_env
from chaoying_async.workers.blocking import BlockingGateway
from tests.factories import AUTH_CODE
from tests.sizes import FULL

if TYPE_CHECKING:
    from chaoying_async.pollstore.sql import SqlPollStore

PAID, NEVER_PAID = 100, 405
CHILDREN, THREADS, SALES = (4, 2, 3) if FULL else (2, 2, 2)


def session() -> GatewaySession:
    return GatewaySession(
        credentials_from_env(),
        mch_id=os.environ["CHAOYING_MCH_ID"],
        hosts=Hosts.single(os.environ["CHAOYING_URL"]),
    )


def poll_store() -> SqlPollStore:
    from chaoying_async.pollstore.sql import SqlPollStore  # most of the ways do without it

    return SqlPollStore(os.environ["POLL_STORE"])


gateway = BlockingGateway(session)
gateway_with_store = BlockingGateway(session, store=poll_store)


def sell(number: str, amount: int = PAID, through: BlockingGateway = gateway) -> str:
    pay = Pay(out_trade_no=number, body="tea", total_fee=amount, auth_code=AUTH_CODE)
    return str(through.checkout(pay).status)


def sell_in_threads(name: str) -> list[str]:
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(sell, [f"{name}X{os.getpid()}X{n}" for n in range(SALES)]))


def sell_in_vain(number: str, through: BlockingGateway) -> None:
    """For a daemon thread, which the end of the program may or may not let say so."""
    with contextlib.suppress(OutcomeUnknownError):
        sell(number, NEVER_PAID, through)


def _load_for_all() -> None:
    """Once, before forking, as with ``preload_app``; each child would load it by itself."""
    import chaoying_async.transport.aiohttp_connections  # noqa: F401


def told(**what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def forked_after_use() -> None:
    """As a script that sells, starts a pool of processes, and sells again."""
    statuses = [sell("BEFORE1")]
    with multiprocessing.get_context("fork").Pool(CHILDREN) as pool:
        for found in pool.map(sell_in_threads, [f"CHILD{n}" for n in range(CHILDREN)]):
            statuses += found
        pool.close()
        pool.join()
    told(statuses=[*statuses, sell("AFTER1")])


def forked_while_a_call_is_under_way() -> None:
    """A child of a process whose loop and locks are busy at that moment."""
    threading.Thread(target=sell_in_vain, args=("BUSY01", gateway), daemon=True).start()
    forked_after_use()


def forked_into_the_number_of_its_parent() -> None:
    """As a grandchild may be: the number of a process that is gone is given out again."""
    sell("BEFORE1")
    parent = os.getpid()
    preforked(lambda: setattr(os, "getpid", lambda: parent))


def preforked(first: Callable[[], None] = lambda: None) -> None:
    """As gunicorn and Celery do: the program is loaded, then forked; children end by themselves."""
    _load_for_all()
    children = []
    for number in range(CHILDREN):
        child = os.fork()
        if child == 0:
            first()
            sold = sell_in_threads(f"CHILD{number}")
            sys.exit(0 if sold == ["PAID"] * SALES else 3)
        children.append(child)
    told(statuses=[os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])


def children_of_multiprocessing() -> None:
    """One after the other, on one store; they end without ``atexit``, and so close it."""
    _load_for_all()
    import chaoying_async.pollstore.sql  # noqa: F401

    children = [
        multiprocessing.get_context("fork").Process(target=sell_and_close, args=(f"CHILD{number}",))
        for number in range(CHILDREN)
    ]
    for child in children:
        child.start()
        child.join()
    told(statuses=[child.exitcode for child in children])


def sell_and_close(number: str) -> None:
    with gateway_with_store:
        sys.exit(0 if sell(number, through=gateway_with_store) == "PAID" else 3)


def interrupted() -> None:
    """Somebody at the till presses Ctrl-C while the customer looks for their phone."""
    try:
        sell("CTRLC1", NEVER_PAID, gateway_with_store)
    except KeyboardInterrupt:
        told(interrupted=True)


def ended_with_a_payment_under_way() -> None:
    """The program ends although a daemon thread waits for a payment; nobody closes anything."""
    daemon = threading.Thread(
        target=sell_in_vain, args=("DAEMON1", gateway_with_store), daemon=True
    )
    daemon.start()
    sys.stdin.readline()


def ended_before_its_threads() -> None:
    """The main thread is at its end, another one still sells: Python waits for that one."""

    def sell_on() -> None:
        threading.main_thread().join()
        told(statuses=[sell(f"LATE{number}") for number in range(SALES)])

    # By a name, as in production, which is looked up for the first connection.
    os.environ["CHAOYING_URL"] = os.environ["CHAOYING_URL"].replace("127.0.0.1", "localhost")
    threading.Thread(target=sell_on).start()


WAYS: dict[str, Callable[[], None]] = {
    each.__name__: each
    for each in (
        forked_after_use,
        forked_while_a_call_is_under_way,
        forked_into_the_number_of_its_parent,
        preforked,
        children_of_multiprocessing,
        interrupted,
        ended_with_a_payment_under_way,
        ended_before_its_threads,
    )
}

if __name__ == "__main__":
    # Python 3.12 and later warn of every fork of a process with threads.
    warnings.filterwarnings("ignore", ".*multi-threaded", DeprecationWarning)
    WAYS[sys.argv[1]]()
