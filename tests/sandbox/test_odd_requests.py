"""Whatever stands in a request to the sandbox: a sentence, never a 500, and no secret of others."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Mapping
from itertools import product
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, urlencode

import attrs
import pytest

from chaoying_async.sandbox import Fault, Sandbox
from chaoying_async.sandbox.console import site
from chaoying_async.sandbox.console.pages.login import LANGUAGE
from chaoying_async.sandbox.document.endpoints import ROUTES
from chaoying_async.sandbox.document.signature import signature
from chaoying_async.sandbox.serving.control_api import _POSTS as CONTROL
from chaoying_async.sandbox.serving.faults import Plan
from chaoying_async.sandbox.serving.security import COOKIE
from chaoying_async.sansio.redact import shown_url, shown_urls
from tests.sandbox.console_visitor import OURS, PAGES, Visitor
from tests.sandbox_calls import VALID, in_any_order
from tests.sizes import sampled, thinned

TOKEN = "a-token-that-nobody-guesses"
VALUES = [
    "",
    " ",
    "-1",
    "0",
    "7",
    "9" * 18,
    "9" * 4301,
    "1" * 20_000,
    "1e999",
    "-1e999",
    "1e-999",
    "nan",
    "inf",
    "0x10",
    "1_0",
    "²",
    "٣",
    "null",
    "[" * 9000,
    '{"a":' * 9000,
    "http://[::1",
    "http://u:p@[::1]:99999/x?y=z#w",
    "//[",
    "\x00",
    "\r\nX: y",
    "%",
    "%zz%",
    "%s{0}{t}",
    "\ufffe\u202e\u0000",
    "😀" * 2000,
    "../../../../etc/passwd",
    "'\"><script>",
    "a" * 20_000 + "!",
    "0000²",
    "0000" + "1" * 4301,
    "https://h:port/",
    "20260230000000",
]
#: What the console's pages ask an address for.
ASKED = (
    *("q", "state", "wallet", "endpoint", "bad", "id"),
    *("message", "of", "mch_id", "out_trade_no", "said"),
)
ORDER = {"mch_id": "00000001", "out_trade_no": "A100012"}
#: Forms that are right, by their address.
FORMS: Mapping[str, Mapping[str, str]] = {
    "/console/orders/new": {
        "mch_id": "00000001",
        "yuan": "1.00",
        "wallet": "WECHAT",
        "how": "scan",
        "scenario": "",
        "notify_url": "http://shop.invalid/x",
    },
    "/console/order/act": {**ORDER, "deed": "CUSTOMER_PAYS"},
    "/console/order/call": {**ORDER, "call": "refund", "yuan": "1.00"},
    "/console/notify": {**ORDER, "kind": "forged", "from": "order"},
    "/console/faults/add": {
        "fault": "slow",
        "endpoint": "pay",
        "probability": "0",
        "seconds": "1",
    },
    "/console/faults/remove": {"plan": "0", "fault": "slow"},
    "/console/faults/seed": {"seed": "7"},
    "/console/scenario": {"of": "", "scenario": "405"},
    "/console/doctor": {"message": "a=1", "key": "k", "sign": "", "algorithm": "", "order": ""},
    "/console/login": {"token": "guess"},
    "/console/logout": {},
    "/console/language": {"language": "zh", "back": "/console/"},
}
WISHES: Mapping[str, Mapping[str, Any]] = {
    "act": {**ORDER, "deed": "CUSTOMER_PAYS"},
    "notify": {
        **ORDER,
        "event": "forged",
        "notify_url": "http://shop.invalid/x",
        "kind": "ALIPAY",
        "total_fee": 1,
        "late": 0,
    },
    "resend": {**ORDER, "notify_url": "http://shop.invalid/x", "undelivered": True},
    "faults": {"plans": [], "seed": 7},
}


@attrs.frozen
class Said:
    """An answer."""

    status: int
    body: bytes


async def ask(  # noqa: PLR0917 - as a request line is read
    app: Any,
    method: str,
    path: str,
    query: str = "",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
) -> Said:
    """One request as a server hands it on; whatever the application raises is raised here."""
    named = {"host": "127.0.0.1", **OURS, **(headers or {})}
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": quote(path).encode(),
        "query_string": query.encode("latin-1", "replace"),
        "root_path": "",
        "headers": [
            (name.encode(), text.encode("latin-1", "replace")) for name, text in named.items()
        ],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    messages = iter([{"type": "http.request", "body": body}])
    status, parts = 0, []

    async def receive() -> Any:
        return next(messages, {"type": "http.disconnect"})

    async def send(message: Any) -> None:
        nonlocal status
        status = message.get("status", status)
        parts.append(message.get("body", b""))

    await app(scope, receive, send)
    return Said(status, b"".join(parts))


@pytest.fixture
async def visitor() -> AsyncIterator[Visitor]:
    made = Visitor()
    async with made.sandbox, made.client:
        await made.pay()
        await made.preorder(notify_url="http://shop.invalid/notify")
        yield made


def _one_at_a_time(right: Mapping[str, Any], values: Iterable[Any]) -> Iterable[dict[str, Any]]:
    for value in values:
        for name in right:
            yield {**right, name: value}
        yield dict.fromkeys(right, value)


class TestPages:
    """The console's own table of addresses, with everything that may stand in a request."""

    def test_every_post_is_tried(self) -> None:
        """The forms above are the console's, and the wishes are the control's."""
        assert FORMS.keys() == site._POSTS.keys()
        assert WISHES.keys() == CONTROL.keys()

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("start", "path"),
        [*enumerate([*site._PAGES, "/console/static/x", "/console/nowhere"])],
    )
    async def test_whatever_is_asked_for(self, visitor: Visitor, start: int, path: str) -> None:
        """One value at a time, and all at once; twice, half escaped, and not UTF-8.

        The pages share the values out among them; with ``FULL=1`` each meets all.
        """
        single = [urlencode({name: value}) for value in VALUES for name in ASKED]
        said = ["said=answered&message=" + quote(value) for value in VALUES]
        queries = [*sampled(single, every=29, start=5 * start)]
        queries += sampled(said, every=11, start=start)
        at_once = sampled(VALUES, every=11, start=start)
        queries += [urlencode(dict.fromkeys(ASKED, value)) for value in at_once]
        queries += [
            "%",
            "&&&",
            "=&=",
            "id=1&id=2",
            "q=%ff%fe",
            "q=%ed%a0%80",
            "q=\xff",
            "a=1&" * 2000,
        ]
        for query in queries:
            answer = await ask(visitor.sandbox.app, "GET", path, query)
            assert answer.status < 500, (path, query[:100])
            assert answer.body or answer.status == 303

    @pytest.mark.slow
    @pytest.mark.parametrize("path", FORMS)
    async def test_whatever_is_posted(self, visitor: Visitor, path: str) -> None:
        """A page that says so, or one that goes on; the sandbox lives."""
        form_token = {"form_token": visitor.guard.form_token}
        bodies = [
            urlencode({**form_token, **form}).encode()
            for form in sampled(_one_at_a_time(FORMS[path], VALUES), every=11)
        ]
        right = urlencode(form_token).encode()
        bodies += [
            right + more for more in (b"&" * 60_000, b"&%", b"&a=\xff", b"&a=%ed%a0%80", b"=")
        ]
        for body in bodies:
            said = await ask(visitor.sandbox.app, "POST", path, body=body)
            assert said.status < 500, (path, body[:200])
        assert (await ask(visitor.sandbox.app, "GET", "/console/faults")).status == 200

    async def test_numbers_that_are_none_are_told(self, visitor: Visitor) -> None:
        """What a page is to say of a message: 400 and a sentence; what is to be shown: 404."""
        for number in ("9" * 4301, "²", "-1", "x"):
            query = urlencode({"said": "answered", "message": number})
            for path in ("/console/", "/console/order", "/console/faults"):
                said = await ask(visitor.sandbox.app, "GET", path, query)
                assert said.status == 400, path
                assert b"cannot be read" in said.body
            for path, name in (("/console/doctor", "message"), ("/console/message", "id")):
                query = urlencode({name: number})
                assert (await ask(visitor.sandbox.app, "GET", path, query)).status == 404

    @pytest.mark.slow
    @pytest.mark.parametrize("token", [None, TOKEN])
    @pytest.mark.parametrize(
        "name",
        [
            *("host", "origin", "cookie", "accept-language", "authorization", "content-type"),
            *("content-length", "sec-fetch-site", "referer", "user-agent", "x-sandbox"),
        ],
    )
    async def test_whatever_a_header_says(self, name: str, token: str | None) -> None:
        """Hosts and origins that are no addresses, cookies that are none, and the rest."""
        made = Visitor(token=token)
        login = {} if token is None else {"cookie": f"{COOKIE}={made.guard.login()}"}
        form = urlencode({"form_token": made.guard.form_token, "language": "zh"}).encode()
        values = [
            *VALUES,
            f"{LANGUAGE}=",
            f"{COOKIE}",
            "a=\\" * 4000,
            "Bearer",
            "Bearer \xff",
            '"=;',
        ]
        async with made.sandbox, made.client:
            for value in sampled(values, every=7):
                headers = {**login, name: value}
                for method, path, body in (
                    ("GET", "/console/", b""),
                    ("GET", "/console/messages/", b""),
                    ("GET", "/console/login", b""),
                    ("POST", "/console/language", form),
                    ("GET", "/_sandbox/books", b""),
                    ("POST", "/_sandbox/faults", b"{}"),
                    ("POST", "/UnifiedPay/Gateway", b"a=1"),
                ):
                    said = await ask(made.sandbox.app, method, path, "", headers, body)
                    assert 200 <= said.status < 500, (path, value[:100])

    async def test_whatever_the_path_is(self, visitor: Visitor) -> None:
        """Of the gateway, of the console, of the control, and of nobody."""
        starts = ("/", "/console/", "/console/static/", "/_sandbox/", "/qrpay/")
        methods = ("GET", "POST", "HEAD", "DELETE", "M\u00fcll")
        for value, start, method in thinned(product(VALUES, starts, methods), every=11, usual=3):
            said = await ask(visitor.sandbox.app, method, start + value, "op_shop_id=1")
            assert 200 <= said.status < 500, (start, value[:100])
        for page in ("/console/messages", "/console/message?id=5", "/console/notifications"):
            path, _, query = page.partition("?")
            assert (await ask(visitor.sandbox.app, "GET", path, query)).status == 200


class TestControl:
    """Wishes of a program."""

    @pytest.mark.parametrize(
        "body",
        [
            b"[" * 9000,
            b'{"a":' * 9000,
            b"",
            b"null",
            b"1",
            b'"x"',
            b"[]",
            b"\xff",
            b"\xef\xbb\xbf{}",
            '{"plans": []}'.encode("utf-16"),
            b'{"seed": NaN, "plans": []}',
            b'{"seed": Infinity, "plans": []}',
            b'{"plans": [], "plans": []}',
            b'{"seed": ' + b"9" * 4301 + b', "plans": []}',
            b'{"plans": ["\\ud800"]}',
            b'{"\\udfff": 1, "plans": []}',
            b'{"plans": [], "a": {"b": ["\\ud83d"]}}',
            b'{"plans": [1]}',
            b'{"plans": ["pay/slow:1:' + b"9" * 400 + b'"]}',
            b'{"plans": ["pay/clock-skew:1:9999999999999"]}',
        ],
    )
    async def test_what_is_no_wish_is_400(self, visitor: Visitor, body: bytes) -> None:
        """And the answer is a sentence."""
        headers = {"x-sandbox": "1"}
        for what in CONTROL:
            path = f"/_sandbox/{what}"
            said = await ask(visitor.sandbox.app, "POST", path, "", headers, body)
            assert said.status == 400, what
            assert len(json.loads(said.body)["problem"].split()) > 2

    @pytest.mark.parametrize("what", WISHES)
    async def test_whatever_a_wish_holds(self, visitor: Visitor, what: str) -> None:
        """Each member once as everything that JSON knows."""
        values: list[Any] = [
            *VALUES,
            *(None, True, False, 0, -1, 1.5, 10**300, 1e308, [], {}, [[]], {"a": {}}, ["x"] * 1000),
            "\ud800",
        ]
        for wish in _one_at_a_time(WISHES[what], values):
            said = await ask(
                *(visitor.sandbox.app, "POST", f"/_sandbox/{what}", ""),
                {"x-sandbox": "1"},
                json.dumps(wish).encode(),
            )
            assert said.status in {200, 400, 413}, wish
            assert said.status == 413 or json.loads(said.body)
        assert (await ask(visitor.sandbox.app, "GET", "/_sandbox/books")).status == 200

    @pytest.mark.parametrize("backwards", [False, True])
    async def test_who_names_no_merchant_means_the_sandboxs_own(
        self, visitor: Visitor, monkeypatch: pytest.MonkeyPatch, backwards: bool
    ) -> None:
        """For a notification and for an order, whatever order the tables are gone through in."""
        in_any_order(monkeypatch, backwards=backwards)
        for mch_id in ("00000002", "00000001"):
            await visitor.preorder(mch_id=mch_id)
        wish = {"event": "paid", "notify_url": "http://shop.invalid/x"}
        for asked in (wish, {**wish, "out_trade_no": "A100012"}):
            headers, body = {"x-sandbox": "1"}, json.dumps(asked).encode()
            said = await ask(visitor.sandbox.app, "POST", "/_sandbox/notify", "", headers, body)
            assert said.status == 200
        assert visitor.sandbox.mch_id == "00000001"
        assert [dict(parse_qsl(form.decode()))["mch_id"] for form in visitor.merchant.heard] == [
            "00000001",
            "00000001",
        ]

    def test_a_fault_takes_a_time_that_a_calendar_has(self) -> None:
        """Else a gateway whose clock is wrong by that much would fail instead."""
        for seconds in (2e9, float("inf"), float("nan"), -2e9):
            with pytest.raises(ValueError, match="seconds"):
                Plan(Fault.CLOCK_SKEW, seconds=seconds)


class TestGateway:
    """Requests that are signed, and nonsense all the same."""

    @pytest.mark.parametrize("endpoint", VALID)
    async def test_whatever_a_signed_field_holds(self, endpoint: str) -> None:
        """An answer of the gateway's, whatever it thinks of it. One in so many; ``FULL=1``: all."""
        paths = {endpoint: path for (_, path), endpoint in ROUTES.items() if endpoint}
        async with Sandbox() as sandbox:
            who = sandbox.credentials
            common = {"agent_id": who.agent_id, "pid": who.pid, "version": "1.0"}
            for fields in thinned(_one_at_a_time(VALID[endpoint], VALUES), every=23, usual=11):
                message = {**common, **{name: text for name, text in fields.items() if text}}
                if endpoint not in paths:
                    message["method"] = endpoint
                message["sign"] = signature(message, who)
                form = urlencode(message)
                method = "GET" if endpoint in {"PayBoxConfGet", "QrConfGet"} else "POST"
                said = await ask(
                    sandbox.app,
                    method,
                    paths.get(endpoint, "/UnifiedPay/Gateway"),
                    form if method == "GET" else "",
                    {"content-type": "application/x-www-form-urlencoded"},
                    form.encode() if method == "POST" else b"",
                )
                assert said.status < 500, fields


SECRETS = ("notify-user", "notify-password", "query-secret")
ADDRESS = "http://notify-user:notify-password@shop.invalid/paid?k=query-secret#query-secret"


class TestAddresses:
    """The user, the password and the query of a ``notify_url`` are the shop's own."""

    async def test_no_page_and_no_book_shows_them(self) -> None:
        """They are used, and shown nowhere: pages, messages, books, answers of the control."""
        made = Visitor()
        async with made.sandbox, made.client:
            plain = ADDRESS.partition("?")[0]
            await made.pay()
            await made.preorder("A100012", "1000", notify_url=plain)
            await made.preorder("A100013", "1000", notify_url=ADDRESS)  # refused, and shown
            await made.sandbox.advance(30)
            assert made.merchant.heard
            texts = []
            for wish in (
                {"event": "paid", **ORDER},
                {"event": "paid", "notify_url": ADDRESS},
            ):
                body = json.dumps(wish).encode()
                headers = {"x-sandbox": "1"}
                said = await ask(made.sandbox.app, "POST", "/_sandbox/notify", "", headers, body)
                assert said.status == 200
                texts.append(said.body.decode())
            assert all("http://shop.invalid/paid" in text for text in texts)
            texts.append((await made.get("/_sandbox/books")).text)
            numbers = range(1, len(made.console.journal) + 1)
            pages = [*PAGES, *(f"/console/message?id={number}" for number in numbers)]
            texts += [await made.page(path) for path in pages]
            texts.append(repr(made.sandbox.deliveries))
        for text in texts:
            assert not [secret for secret in SECRETS if secret in text], text

    async def test_nor_does_what_is_kept_of_deliveries(self, tmp_path: Any) -> None:
        """A restart shows the address, and no more of it than before."""
        made = Sandbox(data=tmp_path / "books")
        async with made:
            body = json.dumps({"event": "paid", "notify_url": ADDRESS}).encode()
            headers = {"x-sandbox": "1"}
            await ask(made.app, "POST", "/_sandbox/notify", "", headers, body)
        for path in tmp_path.iterdir():
            assert not [secret for secret in SECRETS if secret.encode() in path.read_bytes()]
        async with Sandbox(data=tmp_path / "books") as again:
            assert [each.url for each in again.deliveries] == ["http://shop.invalid/paid"]

    @pytest.mark.parametrize(
        ("address", "shown"),
        [
            (ADDRESS, "http://shop.invalid/paid"),
            ("https://h", "https://h"),
            ("http://[::1]:8000/x", "http://[::1]:8000/x"),
            ("http://notify-user@h/x", "http://h/x"),
            ("http://a:notify-password@b@h/x?query-secret", "http://h/x"),
            ("http://a:notify-pass/word@h/x", "http://***@h/x"),
            ("http://h?query-secret", "http://h"),
            ("http://[::1", "http://[::1"),
            ("nonsense", "***"),
        ],
    )
    def test_what_is_shown_of_one(self, address: str, shown: str) -> None:
        """Host and path: alone, and in a text, in every usual spelling."""
        assert shown_url(address) == shown
        for spelt in (
            address,
            quote_plus(address),
            quote(address, safe=""),
            quote_plus(address).lower(),
            quote_plus(quote_plus(address)),
            json.dumps({"url": address}),
            address.replace("/", "\\/"),
            f"see {address} please",
        ):
            text = shown_urls(f"notify_url={spelt}&a=b") if " " not in spelt else shown_urls(spelt)
            assert not [secret for secret in (*SECRETS, "notify-pass") if secret in text]
