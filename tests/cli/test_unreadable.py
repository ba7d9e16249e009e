"""Stores that hold what this version cannot read, or that cannot be written: said, and no error."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path

import pytest

from chaoying_async.cli.inquiry.gather import Sources, gathered
from chaoying_async.clock import SystemClock
from chaoying_async.sansio.explanation import OrderEvidence, explain_order
from chaoying_async.sansio.explanation.told import Witness
from tests.cli.test_inbox import ShopOnDisk, due, told
from tests.cli.test_poller import until
from tests.cli.test_watch import QUICK, WECHAT, pay, started
from tests.cli_calls import Running, call, in_thread

UNREADABLE = "cannot be read by this version: it stays there"


def changed(path: Path, *statements: str) -> None:
    database = sqlite3.connect(path)
    for statement in statements:
        database.execute(statement)
    database.commit()
    database.close()


@pytest.fixture
def shop(tmp_path: Path) -> ShopOnDisk:
    return ShopOnDisk(tmp_path / "shop.db")


@pytest.mark.parametrize(
    "change",
    [
        "mark = 'apply'",
        "payload = 'nonsense'",
        "payload = '[1]'",
        """payload = '{"raw":[1]}'""",
        "first_seen = 'yesterday'",
    ],
)
def test_an_inbox_lists_what_it_can_read(shop: ShopOnDisk, change: str) -> None:
    """One row that was changed by hand hides no other, and no command ends in a traceback."""
    shop(told("B1", 5), told("B2", 5))
    changed(shop.path, f"UPDATE chaoying_asides SET {change} WHERE out_trade_no = 'B1'")  # noqa: S608
    listed = call("inbox", "list", "--store", str(shop.path), "--json")
    assert listed.exit_code == 0, listed.output
    assert '"B2"' in listed.stdout
    assert listed.stderr.count(UNREADABLE) == 1
    assert "'B1'" in listed.stderr
    retried = call("inbox", "retry", "00000001", "B1", "--store", str(shop.path), "--json")
    assert retried.exit_code in (0, 1), retried.output
    assert explained(shop.path) <= {Witness.INBOX}
    shop.expected = {"B2": 5}
    changed(shop.path, "UPDATE chaoying_asides SET due = 0")
    shop(due)
    assert shop.shipped == ["B2"]


def explained(path: Path) -> AbstractSet[Witness]:
    """The sources that cannot be read, of an order of which everything else is explained."""
    clock = SystemClock()
    evidence = OrderEvidence(mch_id="00000001", out_trade_no="B1", now=clock.now())
    found = asyncio.run(gathered(None, evidence, Sources(inbox=str(path)), clock))
    explain_order(found)
    return found.troubles.keys()


def test_a_number_that_is_too_long_is_in_no_inbox(shop: ShopOnDisk) -> None:
    """Exit code 1, as for every number that is not there."""
    shop()
    result = call("inbox", "retry", "0" * 65, "x" * 129, "--store", str(shop.path), "--json")
    assert result.exit_code == 1, result.output
    assert json.loads(result.stdout)["error"] == "NothingMarked"


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with in_thread() as made:
        pay(made, "A1000", "1000")
        yield made


def test_a_watch_that_cannot_read_a_record_does_not_say_that_all_is_paid(
    running: Running, tmp_path: Path
) -> None:
    """Nobody asks about that order, and it may have been paid: exit code 6, and a line for it."""
    store = tmp_path / "watched.db"
    named = (*WECHAT, *QUICK, "--store", str(store))
    assert running.call("watch", "A1000", *named).exit_code == 0
    changed(
        store,
        """INSERT INTO chaoying_watch_polls (kind, item, body) VALUES ('poll', 'B1', '{"v":9}')""",
    )
    for numbers in (("A1000",), ()):
        result = running.call("watch", *numbers, *named, "--json")
        assert result.exit_code == 6, result.output
        assert "record B1 cannot be read by this version" in result.stderr


@pytest.mark.parametrize(
    ("store", "why"), [("", "--store is empty"), ("typo.db", "no watch was kept")]
)
def test_a_watch_of_a_store_that_is_not_there_does_not_say_that_all_is_paid(
    running: Running, tmp_path: Path, store: str, why: str
) -> None:
    """An empty one would be made, and exit code 0 says that all of it is paid."""
    path = store and str(tmp_path / store)
    result = running.call("watch", "--store", path)
    assert (result.exit_code, why in result.stderr) == (2, True), result.output
    assert not list(tmp_path.iterdir())


def test_a_watch_that_waits_for_a_dead_owner_is_left_at_once(
    running: Running, tmp_path: Path
) -> None:
    """The first signal ends it: nothing is under way yet."""
    store = tmp_path / "watched.db"
    running.call("watch", "A1000", *WECHAT, *QUICK, "--store", str(store))
    changed(
        store,
        "UPDATE chaoying_watch_polls_owner SET lease = 60000000,"
        " held_until = (strftime('%s', 'now') + 60) * 1000000",
    )
    with started(running, "A1000", *WECHAT, "--store", str(store)) as process:
        until(store.with_name("watched.db-wal").exists)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130


def test_a_watch_says_why_it_waits_for_its_store(running: Running, tmp_path: Path) -> None:
    """M-23: what is not written down is not given out; so a person has to hear of it."""
    store = tmp_path / "watched.db"
    running.call("watch", "A1000", *WECHAT, *QUICK, "--store", str(store))
    full = "BEGIN SELECT RAISE(ABORT, 'full') WHERE NEW.body LIKE '%status%'; END"
    changed(
        store,
        f"CREATE TRIGGER full_update BEFORE UPDATE ON chaoying_watch_polls {full}",
        f"CREATE TRIGGER full_insert BEFORE INSERT ON chaoying_watch_polls {full}",
    )
    with started(running, "A1000", *WECHAT, *QUICK, "--store", str(store)) as process:
        assert "the poll store failed with" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
        assert "1 could not be written down, and come again" in process.stderr.read()
