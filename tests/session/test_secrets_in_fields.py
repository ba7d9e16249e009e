"""M-27: whoever walks the fields of an object instead of calling ``repr`` finds no secret either.

rich and its tracebacks, pytest's report of a failed ``==``, serialisers and crash reporters do.
"""

from __future__ import annotations

import asyncio
import copy
import io
import json
import pickle
import pprint
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import attrs
import cattrs
import pytest
import rich
import rich.pretty
from hypothesis.vendor import pretty
from rich.console import Console
from rich.traceback import Traceback

from chaoying_async import (
    ChaoyingError,
    Credentials,
    GatewaySession,
    Hosts,
    ParameterError,
    Pay,
    PreviousKey,
    parse_notification,
    peek_mch_id,
    transport,
)
from chaoying_async.sansio.exchange import build_request, read_reply
from chaoying_async.sansio.sealed import Sealed, SealedMap, Secret, SecretBytes
from chaoying_async.testing import sign_notification
from tests.conftest import PACKAGE
from tests.factories import (
    AUTH_CODE,
    CANARIES,
    CREDENTIALS,
    KEY,
    MCH_ID,
    OPENID,
    ORDER,
    answer_fields,
    body_of,
    every_request,
)
from tests.fake_gateway import FakeGateway, session
from tests.session.test_secrets_in_texts import FAILURES, THINGS
from tests.sizes import cases, thinned
from tests.table import table
from tests.users_pytest import run_pytest

REQUESTS = every_request()
PAY: Any = REQUESTS["pay"]
LATER = datetime(2027, 1, 1, tzinfo=UTC)


def _inspected(thing: Any) -> str:
    screen = io.StringIO()
    rich.inspect(thing, console=Console(file=screen, width=200), private=True)
    return screen.getvalue()


def _slots(thing: Any) -> Iterator[Any]:
    """What deepdiff and jsonpickle look at, and one step further."""
    yield getattr(thing, "__dict__", None)
    for cls in type(thing).__mro__:
        for name in getattr(cls, "__slots__", ()):
            value = getattr(thing, name, None)
            yield value
            yield [getattr(value, inner, None) for inner in getattr(type(value), "__slots__", ())]


def _serialised(thing: Any) -> str:
    """cattrs knows no way to write down what is sealed, and says so."""
    try:
        return pprint.pformat(cattrs.unstructure(thing))
    except (AttributeError, TypeError) as refused:
        return str(refused)


def _fields(thing: Any) -> str:
    values = [getattr(thing, field.name) for field in attrs.fields(type(thing))]
    return " ".join(f"{value}" for value in values)


WALKERS: dict[str, Callable[[Any], str]] = {
    "rich": rich.pretty.pretty_repr,
    "rich, cutting long texts": lambda thing: rich.pretty.pretty_repr(thing, max_string=12),
    "rich.inspect": _inspected,
    "hypothesis": pretty.pretty,
    "slots": lambda thing: repr(list(_slots(thing))),
}
ATTRS_WALKERS: dict[str, Callable[[Any], str]] = {
    "attrs.asdict": lambda thing: pprint.pformat(attrs.asdict(thing)),
    "attrs.astuple": lambda thing: pprint.pformat(attrs.astuple(thing)),
    "cattrs": _serialised,
    "fields": _fields,
}


@table("what", thinned(THINGS, every=7, usual=3))
def test_no_walker_finds_a_secret(what: str) -> None:
    """M-27: what of ours holds a secret, shown by tools that do not ask for its repr.

    One thing in three; with ``FULL=1`` all of them.
    """
    thing = THINGS[what]
    walkers = WALKERS | (ATTRS_WALKERS if attrs.has(type(thing)) else {})
    for name, walk in walkers.items():
        text = walk(thing)
        assert not any(canary in text for canary in CANARIES), name


def test_undocumented_parameters_are_not_walked_to() -> None:
    """M-27: nobody knows what is in them, so their names show and their values do not."""
    pay = attrs.evolve(PAY, extra={"card_holder": OPENID})
    for name, walk in (WALKERS | ATTRS_WALKERS).items():
        if name != "cattrs":  # a serialiser that asks every mapping for its values
            assert OPENID not in walk(pay), name
    assert dict(pay.extra) == {"card_holder": OPENID}


def test_a_secret_is_read_by_its_name() -> None:
    """Sealed or not, it is a text like any other to whoever asks for it."""
    pay = PAY
    assert pay.auth_code == f"{pay.auth_code}" == str(pay.auth_code) == AUTH_CODE
    assert CREDENTIALS.key == PreviousKey(KEY, LATER).key == KEY
    assert attrs.evolve(pay, total_fee=2).auth_code == AUTH_CODE
    assert attrs.evolve(CREDENTIALS, version="2").key == KEY
    assert Pay.__init__.__annotations__["auth_code"]  # as an argument, too


def test_what_is_sealed_is_compared_by_value() -> None:
    """Requests and credentials are equal where their secrets are, and only there."""
    one, same, other = (Credentials("a1", key, "p") for key in (KEY, KEY, KEY[::-1]))
    assert bool(one == same) is True
    assert bool(one == other) is False
    assert hash(one) == hash(same)
    pay = PAY
    assert bool(pay == attrs.evolve(pay, auth_code=AUTH_CODE)) is True
    assert bool(pay == attrs.evolve(pay, auth_code="28" + AUTH_CODE[2:])) is False


@pytest.mark.parametrize("proxy", ["http://till:{}@127.0.0.1:1", "https://till:{}@[::1]:1"])
async def test_a_proxys_password_is_not_walked_to(proxy: str) -> None:
    """M-27: neither in a session's settings nor in what its engine made of them."""
    password = "pa55-CANARY"
    async with GatewaySession(CREDENTIALS, proxy=proxy.format(password)) as gateway:
        held: list[Any] = [gateway]
        for _ in range(4):
            for thing in held:
                for name, walk in WALKERS.items():
                    assert password not in walk(thing), (name, type(thing))
            held = [inner for thing in held for inner in _ours(thing)]


def _ours(thing: Any) -> Iterator[Any]:
    """What an object of ours holds that is ours, too."""
    slots = (name for cls in type(thing).__mro__ for name in getattr(cls, "__slots__", ()))
    for name in (*slots, *getattr(thing, "__dict__", ())):
        value = getattr(thing, name, None)
        if type(value).__module__.startswith("chaoying_async"):
            yield value


def test_what_is_empty_shows_that_it_is() -> None:
    """An absent secret is no secret."""
    assert "_openid=None" not in repr(THINGS["pay result"])
    with pytest.raises(ParameterError, match="key"):
        Credentials("a1", "", "p")
    with pytest.raises(ParameterError, match="auth_code"):
        Pay(out_trade_no=ORDER, body="tea", total_fee=1, auth_code="")


def test_a_part_of_a_secret_is_as_silent() -> None:
    """rich shows the first characters of a long text, so a slice hides itself as well."""
    assert repr(Secret(KEY)[:12]) == repr(SecretBytes(KEY.encode())[:12]) == "***"
    assert Secret(KEY)[:3] == KEY[:3]
    assert SecretBytes(b"ab")[0] == ord("a")


@pytest.mark.parametrize("sealed", [Sealed(KEY), SealedMap({"key": KEY})], ids=["value", "map"])
def test_what_is_sealed_is_neither_pickled_nor_copied_open(sealed: Any) -> None:
    """A copy is the thing itself; a pickle is refused."""
    assert copy.copy(sealed) is copy.deepcopy(sealed) is sealed
    with pytest.raises(TypeError, match="M-27"):
        pickle.dumps(sealed)


REPORTED = """
from datetime import UTC, datetime
from chaoying_async import Credentials, FacePay, Pay, PreviousKey, parse_notification
from chaoying_async.testing import sign_notification

def credentials(key, old):
    until = datetime(2030, 1, 1, tzinfo=UTC)
    return Credentials("a1", key, "p", previous_keys=(PreviousKey(old, until),))

def pay(code, **extra):
    return Pay(out_trade_no="A100011", body="tea", total_fee=1, auth_code=code, extra=extra)

def told(openid):
    who = credentials({key!r}, {key!r})
    message = dict(mch_id="m1", out_trade_no="A100011", total_fee=1, sub_openid=openid)
    body = sign_notification(who, time_end=datetime(2026, 1, 1, tzinfo=UTC), **message)
    return parse_notification(body, who)

def test_credentials():
    one, two = credentials({key!r}, {key!r}[::-1]), credentials({key!r}[::-1], {key!r})
    assert one == two

def test_previous_keys():
    one, two = credentials({key!r}, "old1"), credentials({key!r}, {key!r})
    assert one == two

def test_pay():
    assert pay({code!r}) == pay("2" + {code!r}[1:])

def test_pay_in_a_list():
    assert [pay({code!r})] == [pay("2" + {code!r}[1:])]

def test_pay_in_a_dict():
    assert {{"a": pay({code!r}, card="x")}} == {{"a": pay({code!r}, card={openid!r})}}

def test_notification():
    assert told({openid!r}) == told("other")

"""


@pytest.mark.outside
@pytest.mark.parametrize("how", cases(["-vv"], more=["-q"]))
def test_a_failed_comparison_is_reported_without_secrets(how: str, tmp_path: Path) -> None:
    """M-27: ``assert pay == other`` in a user's test shows *that* they differ, and no value."""
    source = REPORTED.format(key=KEY, code=AUTH_CODE, openid=OPENID)
    (tmp_path / "test_theirs.py").write_text(source)
    report = run_pytest(tmp_path, how, "--tb=short", "--no-header", "test_theirs.py")
    assert "6 failed" in report
    # --tb=short prints the failed lines of the test itself: they name values, not texts.
    said = "\n".join(line for line in report.split("\n") if line.startswith("E "))
    assert said.count("AssertionError") + said.count("assert ") >= len("123456")
    for secret in (KEY, KEY[::-1], AUTH_CODE, "2" + AUTH_CODE[1:], OPENID):
        assert secret not in said


def _shown_by_rich(error: BaseException) -> str:
    """The locals that rich's traceback shows of every frame of ours, and of this file's."""
    told = Traceback.extract(
        type(error), error, error.__traceback__, show_locals=True, locals_max_string=80
    )
    return "\n".join(
        f"{name}={node}"
        for stack in told.stacks
        for frame in stack.frames
        if frame.filename.startswith(PACKAGE) or frame.filename == __file__
        for name, node in (frame.locals or {}).items()
    )


@table("name, failure", thinned(product(REQUESTS, FAILURES), every=11, usual=3))
async def test_richs_traceback_of_a_call_has_no_secret(name: str, failure: str) -> None:
    """M-27: the request, the reply and the credentials stand in locals of ours and of the user.

    One call and failure in three; with ``FULL=1`` each with each.
    """
    text = "request credentials"
    async with session(FakeGateway(FAILURES[failure]), read_retries=0, device_info="d") as till:
        request, credentials = REQUESTS[name], till.credentials
        try:
            (await till.send(request)).unwrap()
        except ChaoyingError as error:
            text = _shown_by_rich(error)
    assert "credentials" in text
    assert "request" in text
    assert credentials is CREDENTIALS
    assert not any(canary in text for canary in CANARIES)


def test_what_is_read_by_hand_leaves_no_frames_behind() -> None:
    """M-27: frames that read a reply or a notification are not kept by what they raise."""
    sent = build_request(REQUESTS["pay"], CREDENTIALS)
    forged = body_of(answer_fields("pay", openid=OPENID) | {"sign": "0" * 32}, signed=False)
    told: dict[str, Any] = {"mch_id": MCH_ID, "out_trade_no": ORDER, "sub_openid": OPENID}
    body = sign_notification(CREDENTIALS, total_fee=1, time_end=LATER, **told)
    body = body.replace(b"total_fee=1", b"total_fee=2")
    readers: list[Callable[[], Any]] = [
        lambda: read_reply(sent, 200, forged, CREDENTIALS, now=None),
        lambda: parse_notification(body, CREDENTIALS),
    ]
    for read in readers:
        with pytest.raises(ChaoyingError) as caught:
            read()
        ours = caught.tb.tb_next
        assert ours is not None
        assert ours.tb_next is not None
        caught.value.__traceback__ = ours.tb_next  # without this test's frames: the bytes are here
        text = _shown_by_rich(caught.value)
        assert "credentials" in text
        assert not any(canary in text for canary in CANARIES)


def _made_badly() -> Iterator[Callable[[], Any]]:
    secret: dict[str, Any] = {"auth_code": AUTH_CODE, "out_trade_no": ORDER, "total_fee": 1}
    yield lambda: Pay(body="", **secret)
    yield lambda: Pay(body="tea", **secret, nonsense=1)  # type: ignore[call-arg]
    yield lambda: Pay(body="tea", **secret, extra={"card": OPENID, "total_fee": "1"})
    yield lambda: Credentials("", KEY, "p")
    yield lambda: PreviousKey(KEY, "never")  # type: ignore[arg-type]
    yield lambda: peek_mch_id(f"a=1&a=2&openid={OPENID}".encode())
    yield lambda: parse_notification(f"openid={OPENID}".encode(), KEY)  # type: ignore[arg-type]


@pytest.mark.parametrize("making", [*_made_badly()])
def test_what_cannot_be_made_leaves_no_frame_with_its_arguments(making: Callable[[], Any]) -> None:
    """M-27: attrs' generated frames are ours as well, and crash reporters show their locals."""
    with pytest.raises((ChaoyingError, TypeError)) as caught:
        making()
    assert caught.tb.tb_next is not None
    caught.value.__traceback__ = caught.tb.tb_next.tb_next  # without this test's own frames
    dump = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    shown = "".join(dump.format())
    assert not any(canary in shown for canary in CANARIES)


ANSWERS: dict[str, tuple[bytes, bytes]] = {
    "refused": (b"", b""),
    "cut": (b"Content-Length: 999\r\n", b'{"openid": "' + OPENID.encode()),
    "bad gzip": (b"Content-Encoding: gzip\r\n", b"xx" + OPENID.encode()),
    "bad chunk": (b"Transfer-Encoding: chunked\r\n", b"zz\r\n" + OPENID.encode()),
    "forged": (b"", json.dumps({"state": "SUCCESS", "openid": OPENID, "sign": "0"}).encode()),
}


@pytest.mark.parametrize("fallback", [False, True], ids=["aiohttp", "httpx"])
@pytest.mark.parametrize("answer", ANSWERS)
async def test_no_frame_of_an_engine_shows_what_went_over_the_wire(
    answer: str, fallback: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """M-27: the signed request and the reply, whatever breaks on the way, with every local."""
    if fallback:
        monkeypatch.setattr(transport, "_aiohttp_serves", lambda *_, **__: False)
    head, body = ANSWERS[answer]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        length = (
            b""
            if b"Content-Length" in head or b"chunked" in head
            else (f"Content-Length: {len(body)}\r\n".encode())
        )
        writer.write(b"HTTP/1.1 200 OK\r\n" + head + length + b"\r\n" + body)
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1] if answer != "refused" else 9
        hosts = Hosts.single(f"http://127.0.0.1:{port}")
        async with GatewaySession(CREDENTIALS, mch_id=MCH_ID, hosts=hosts) as gateway:
            with pytest.raises(ChaoyingError) as caught:
                await gateway.send(PAY)
    dump: traceback.TracebackException | None
    dump = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    while dump is not None:
        for frame in dump.stack:
            if frame.filename != __file__:
                text = repr(frame.locals)
                assert not any(canary in text for canary in CANARIES), (frame.filename, frame.name)
        dump = dump.__cause__ or dump.__context__


async def test_a_hook_that_raises_shows_no_reply() -> None:
    """M-27: its own frame has the response, ours only what hides itself."""

    async def breaks(_: Any) -> None:
        raise RuntimeError("of the user")

    reply = body_of(answer_fields("pay", openid=OPENID))
    async with session(FakeGateway(reply), event_hooks={"response": [breaks]}) as till:
        with pytest.raises(ChaoyingError) as caught:
            await till.send(PAY)
    assert not any(canary in _shown_by_rich(caught.value) for canary in CANARIES)


def test_a_mapping_as_received_is_one_to_its_reader() -> None:
    """As the read-only mappings before it, and silent about personal fields in a comparison."""
    raw = SealedMap({"openid": OPENID, "state": "SUCCESS"})
    assert raw == {"openid": OPENID, "state": "SUCCESS"} == raw.copy()
    assert raw | {"a": "b"} == {"openid": OPENID, "state": "SUCCESS", "a": "b"}
    assert {"state": "x"} | raw == raw.copy()
    assert list(reversed(raw)) == ["state", "openid"]
    assert json.loads(json.dumps(raw.copy())) == raw
    assert OPENID not in repr([*raw.items()])
