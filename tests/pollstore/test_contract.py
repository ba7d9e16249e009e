"""What every store promises those who wait; one suite over all of them (M-23)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from chaoying_async.exceptions import SessionClosedError, StoreInUseError
from tests.pollstores import STORES, Maker, everything
from tests.servers import Servers


@pytest.fixture(params=[*STORES])
def make(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> Maker:
    return STORES[request.param](servers, tmp_path)


async def test_a_text_is_kept_replaced_and_dropped(make: Maker) -> None:
    """Durable on return; dropping what is not there is no error."""
    async with make() as store:
        assert await store.get("poll", "a") is None
        await store.put("poll", {"a": "1", "b": "2"})
        await store.put("poll", {"a": "3"})
        await store.put("poll", {})
        assert [await store.get("poll", key) for key in "ab"] == ["3", "2"]
        await store.forget("poll", ["a", "never"])
        await store.forget("poll", [])
        assert await everything(store, "poll") == [("b", "2")]


async def test_texts_come_in_the_order_of_their_first_put(make: Maker) -> None:
    """A text that was replaced keeps its place; one that was dropped comes last."""
    async with make() as store:
        for key in "cab":
            await store.put("poll", {key: "1"})
        await store.put("poll", {"c": "2"})
        await store.forget("poll", ["a"])
        await store.put("poll", {"a": "2"})
        assert [key for key, _ in await everything(store, "poll")] == ["c", "b", "a"]


async def test_kinds_know_nothing_of_each_other(make: Maker) -> None:
    """The same key under another kind is another text."""
    async with make() as store:
        await store.put("poll", {"a": "1"})
        await store.put("checkout", {"a": "2"})
        await store.forget("checkout", ["a"])
        assert await everything(store, "poll") == [("a", "1")]
        assert await everything(store, "checkout") == []


KEYS = ["A1", "a1", "A1 ", " A1", "Ａ1", "É", "é", "e", "订单", "😀", "", "x" * 512]


async def test_keys_are_compared_byte_by_byte(make: Maker) -> None:
    """M-18: case, blanks and full-width letters tell two orders apart on every database."""
    async with make() as store:
        await store.put("poll", {key: f"text {n}" for n, key in enumerate(KEYS)})
        for n, key in enumerate(KEYS):
            assert await store.get("poll", key) == f"text {n}"
        await store.forget("poll", ["a1", "A1 "])
        assert await store.get("poll", "A1") == "text 0"


@pytest.mark.parametrize("text", ["", "订单 😀 \\ ' \" % :a ?", "x" * 300_000], ids=len)
async def test_any_text_comes_back_as_it_was(make: Maker, text: str) -> None:
    """Nothing is cut off, escaped or normalised."""
    async with make() as store:
        await store.put("poll", {"a": text})
        assert await store.get("poll", "a") == text


async def test_what_was_kept_is_there_after_closing(make: Maker) -> None:
    """The next one who opens it finds all of it, at once."""
    async with make() as store:
        await store.put("poll", {f"k{n}": str(n) for n in range(100)})
    async with make() as store:
        assert await everything(store, "poll") == [(f"k{n}", str(n)) for n in range(100)]


async def test_a_closed_store_says_so(make: Maker) -> None:
    """Before, and after."""
    store = make()
    for _ in range(2):
        for call in (store.put("poll", {"a": "1"}), store.get("poll", "a"), store.hold()):
            with pytest.raises(SessionClosedError):
                await call
        with pytest.raises(SessionClosedError):
            await store.forget("poll", ["a"])
        with pytest.raises(SessionClosedError):
            await everything(store, "poll")
        async with store:
            await store.hold()


async def test_a_store_has_one_owner(make: Maker) -> None:
    """M-23: whoever comes second is told so, and the owner notices nothing."""
    async with make() as store:
        with pytest.raises(StoreInUseError, match="owner"):
            await make().__aenter__()
        await store.hold()
        await store.put("poll", {"a": "1"})
        assert await store.get("poll", "a") == "1"


async def test_calls_that_come_together_are_all_kept(make: Maker) -> None:
    """More than go into one transaction, and more than are read at a time."""
    async with make() as store:
        await asyncio.gather(
            *(store.put("poll", {f"k{n}.{m}": "1" for m in range(100)}) for n in range(110)),
            store.forget("poll", ["k0.0"]),
        )
        found = await everything(store, "poll")
        assert len({key for key, _ in found}) == len(found) == 11_000 - 1


async def test_a_cancelled_call_takes_no_other_with_it(make: Maker) -> None:
    """Its own text may be there or not; the others' are."""
    async with make() as store:
        puts = [asyncio.create_task(store.put("poll", {f"k{n}": "1"})) for n in range(20)]
        await asyncio.sleep(0)
        for task in puts[::2]:
            task.cancel()
        done: list[Any] = await asyncio.gather(*puts, return_exceptions=True)
        assert not [one for one in done[1::2] if one is not None]
        kept = {key for key, _ in await everything(store, "poll")}
        assert kept >= {f"k{n}" for n in range(1, 20, 2)}
