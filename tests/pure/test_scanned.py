"""M-05: a sticker must not be able to make a terminal sign anything but its own question."""

from __future__ import annotations

import hashlib
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoying_async import Hosts, ParameterError, QrConfGet, Refund
from chaoying_async.sansio.exchange import Outgoing, build_request
from tests.factories import CREDENTIALS, KEY, every_request
from tests.hostile_links import GOOD, HOST, HOSTILE, PATHS, QUERIES
from tests.table import table

TERMINAL: dict[str, Any] = {"device_info": "d1", "op_device_id": "od1"}


def outgoing(url: str, hosts: Hosts | None = None, **options: Any) -> Outgoing[Any]:
    request = QrConfGet(url=url, **TERMINAL, **options)
    return build_request(request, CREDENTIALS, hosts=hosts or Hosts.document())


def sent_query(sent: Outgoing[Any]) -> list[tuple[str, str]]:
    """Every parameter that leaves, decoded once, repeated names included."""
    return parse_qsl(urlsplit(sent.url).query, keep_blank_values=True, strict_parsing=True)


def naive_sign(pairs: list[tuple[str, str]]) -> str:
    """The document's rule over what was sent, written out again."""
    text = "&".join(f"{name}={value}" for name, value in sorted(pairs) if name != "sign" and value)
    return hashlib.md5(f"{text}&key={KEY}".encode()).hexdigest().upper()


@table("trick", HOSTILE)
def test_a_hostile_link_is_refused_before_anything_is_signed(trick: str) -> None:
    """M-05: hosts, ports, users, paths, names and encodings that are not exactly the document's."""
    with pytest.raises(ParameterError) as caught:
        outgoing(HOSTILE[trick])
    assert set(caught.value.problems) <= {"url", "op_shop_id"}
    assert caught.value.doing == "QrConfGet"


@table("trick", HOSTILE)
def test_allowing_names_opens_nothing_else(trick: str) -> None:
    """M-05: ``allow`` adds names, never hosts, paths, repetitions, or the terminal's own names."""
    allow = ("other", "method", "sign", "agent_id", "key", "version", "op_shop_id")
    with pytest.raises(ParameterError):
        outgoing(HOSTILE[trick], allow=allow)


@table("request_name", sorted(every_request()))
def test_no_other_endpoint_can_be_smuggled_in(request_name: str) -> None:
    """M-05: the address and the parameters of every other call are refused, together and apart."""
    sent = build_request(every_request()[request_name], CREDENTIALS)
    if request_name == "QrConfGet":
        return
    address, _, query = sent.url.partition("?")
    query = query or sent.body.decode()
    path = urlsplit(address).path
    for url in (
        f"{address}?{query}",
        address,
        f"{HOST}{path}?{query}",
        f"{HOST}{path}",
        f"{HOST}/qrpay/..{path}",
        f"{HOST}/qrpay/%2e%2e{path}",
        f"{HOST}/qrpay/0000000100?{query}",
        f"{HOST}/qrpay/0000000100?op_shop_id=1&{query}",
        f"{HOST}/qrpay/0000000100?op_shop_id=1%26{query.replace('=', '%3D').replace('&', '%26')}",
    ):
        with pytest.raises(ParameterError):
            outgoing(url)


@table("url", GOOD)
def test_a_good_link_keeps_its_bytes_and_is_signed(url: str) -> None:
    """C 96: own parameters come after the link's, whose bytes stay; all that leaves is signed."""
    sent = outgoing(url)
    assert sent.method == "GET"
    assert sent.body == b""
    joint = "&" if "?" in url.rstrip("?") else "?"
    assert sent.url.startswith(url.rstrip("?") + joint)
    pairs = sent_query(sent)
    assert len(dict(pairs)) == len(pairs)
    assert dict(pairs)["sign"] == naive_sign(pairs)
    assert dict(pairs) | {"sign": ""} == {**sent.fields, "sign": ""}
    assert ("User-Agent", "CySoftPayBox") in sent.headers
    assert dict(pairs)["pid"] == "CySoftPayBox"


@table(
    ("url", "number"),
    [
        (f"{HOST}/qrpay/0000000100", "0000000100"),
        (f"{HOST}/qrpay/0000000100/", "0000000100"),
        (f"{HOST}/qrpay/shop/0000000100?op_shop_id=1", "0000000100"),
        (f"{HOST}/qrpay/%30000000100", "0000000100"),
        (f"{HOST}/qrpay/0000000100?code_number=77", "77"),
    ],
)
def test_code_number_from_the_path_is_signed(url: str, number: str) -> None:
    """C 97: signed on request only, the query's own wins, and it is not added to the address."""
    sent = outgoing(url, code_number_from_path=True)
    assert sent.fields["code_number"] == number
    pairs = sent_query(sent)
    if "code_number" not in url:
        assert "code_number" not in dict(pairs)
        assert "code_number" not in outgoing(url).fields
        pairs.append(("code_number", number))
    assert dict(pairs)["sign"] == naive_sign(pairs)


def test_names_that_the_caller_lists_are_let_through() -> None:
    """M-05: ``allow`` is the one way to a further name, and a name may not come twice."""
    url = f"{HOST}/qrpay/1?shop=7"
    assert outgoing(url, allow=("shop",)).fields["shop"] == "7"
    with pytest.raises(ParameterError):
        outgoing(url)
    with pytest.raises(ParameterError):
        outgoing(url, allow=("shop",), extra={"shop": "8"})


def test_a_value_cannot_hide_further_fields() -> None:
    """M-04, M-05: ``op_shop_id=1&total_fee=100`` in one value would be signed as two."""
    for hidden in ("total_fee", "op_user_id", "key", "shop"):
        url = f"{HOST}/qrpay/1?op_shop_id=1%26{hidden}%3D100&shop=1"
        with pytest.raises(ParameterError):
            outgoing(url, allow=("shop",))


# ----------------------------------------------------------------------------------------- hosts


SANDBOX = "http://127.0.0.1:8000"


@table("origin", [SANDBOX, "http://localhost:8000", "http://[::1]:8000"])
def test_a_sandboxs_own_address_is_allowed(origin: str) -> None:
    """M-05: a loopback origin on the list, exactly, and with the same rules for path and query."""
    hosts = Hosts.single(origin)
    assert outgoing(f"{origin}/qrpay/1?op_shop_id=1", hosts).url.startswith(f"{origin}/qrpay/1?")
    for path in PATHS.values():
        with pytest.raises(ParameterError):
            outgoing(origin + path, hosts)
    for query in QUERIES.values():
        with pytest.raises(ParameterError):
            outgoing(f"{origin}/qrpay/1?{query}", hosts)


@table(
    "url",
    [
        "http://127.0.0.1:8001/qrpay/1",
        "http://127.0.0.1/qrpay/1",
        "https://127.0.0.1:8000/qrpay/1",
        "http://127.0.0.1:8000@qrpay.storepos.cn/qrpay/1",
        "http://user@127.0.0.1:8000/qrpay/1",
        "http://127.0.0.1.:8000/qrpay/1",
        "http://127.1:8000/qrpay/1",
        "http://localhost:8000/qrpay/1",
        "https://qrpay.storepos.cn/qrpay/1",
    ],
)
def test_beside_a_sandbox_nothing_else_is_allowed(url: str) -> None:
    """M-05: its origin as it stands, no other port, no other spelling, not the real host."""
    with pytest.raises(ParameterError):
        outgoing(url, Hosts.single(SANDBOX))


def test_a_loopback_link_is_refused_by_the_real_gateways_hosts() -> None:
    """M-05: a sticker cannot make a terminal call services on its own machine."""
    for url in (f"{SANDBOX}/qrpay/1", "https://localhost/qrpay/1", "https://127.0.0.1/qrpay/1"):
        with pytest.raises(ParameterError):
            outgoing(url)


@table(
    "listed",
    ["pay.storepos.cn", "api.storepos.cn", "pay.storepos.cn.", "PAY.storepos.cn", "10.0.0.1"],
)
def test_the_money_hosts_stay_refused_even_when_listed(listed: str) -> None:
    """M-05: never the ``pay`` or ``api`` host, and no IP address, whatever ``scanned`` says."""
    document = Hosts.document()
    hosts = Hosts(
        pay=document.pay, api=document.api, qrpay=document.qrpay, scanned=(listed, "shop.example")
    )
    with pytest.raises(ParameterError):
        outgoing(f"https://{listed}/qrpay/1", hosts)
    assert outgoing("https://shop.example/qrpay/1", hosts).fields["agent_id"]
    with pytest.raises(ParameterError):
        outgoing(f"{HOST}/qrpay/1", hosts)


def test_a_host_that_one_request_is_sent_to_stays_refused_even_when_listed() -> None:
    """M-05: ``overrides`` name hosts that take money calls, so no sticker may lead there either."""
    document = Hosts.document()
    hosts = Hosts(
        pay=document.pay,
        api=document.api,
        qrpay=document.qrpay,
        scanned=("refunds.example", "shop.example"),
        overrides={Refund: "https://refunds.example/pay/refund"},
    )
    with pytest.raises(ParameterError):
        outgoing("https://refunds.example/qrpay/1", hosts)
    assert outgoing("https://shop.example/qrpay/1", hosts).fields["agent_id"]


def test_scanned_takes_only_hosts_and_loopback_origins() -> None:
    """M-05: an origin that leaves this machine is refused when the hosts are made."""
    document = Hosts.document()
    for entry in ("https://evil.example", "http://qrpay.storepos.cn", "https://10.0.0.1"):
        with pytest.raises(ParameterError, match="scanned"):
            Hosts(pay=document.pay, api=document.api, qrpay=document.qrpay, scanned=(entry,))


# ------------------------------------------------------------------------------------ properties


URLISH = st.text(
    st.sampled_from("/qrpay.storepos.cn:@?&=%2e5cF#;\\\t\n https0143method_AZ\u00e9\U0001d4ee"),
    max_size=40,
)


@given(st.sampled_from(["", HOST, f"{HOST}/qrpay/", f"{HOST}/qrpay/1?op_shop_id="]), URLISH)
def test_whatever_is_scanned_the_request_stays_under_qrpay_on_the_listed_host(
    start: str, rest: str
) -> None:
    """M-05: any text is refused, or goes to /qrpay/ on the host with each name once and signed."""
    try:
        sent = outgoing(start + rest)
    except ParameterError:
        return
    parts = urlsplit(sent.url)
    assert parts.scheme == "https"
    assert parts.netloc in ("qrpay.storepos.cn", "qrpay.storepos.cn:443")
    assert parts.path.startswith("/qrpay/")
    assert ".." not in parts.path
    pairs = sent_query(sent)
    ours = {"agent_id", "pid", "version", "device_info", "op_device_id", "sign"}
    assert {name for name, _ in pairs} - ours <= {"op_shop_id", "op_user_id", "code_number"}
    assert len(dict(pairs)) == len(pairs)
    assert dict(pairs)["sign"] == naive_sign(pairs)
    assert sent.url.isascii()


OWN_NAMES = ("agent_id", "pid", "version", "device_info", "op_device_id", "sign", "key", "method")
LINK = f"{HOST}/qrpay/0000000100?op_shop_id=1"


@table("name", OWN_NAMES)
def test_the_terminals_own_names_cannot_be_allowed(name: str) -> None:
    """M-05, C 96: whatever a caller allows, a link brings none of what the terminal sends."""
    with pytest.raises(ParameterError) as caught:
        outgoing(f"{LINK}&{name}=1", allow=("more", name))
    assert "not allowed" in caught.value.problems["url"]
    assert ("more", "1") in sent_query(outgoing(f"{LINK}&more=1", allow=("more", name)))


def test_a_link_of_2048_characters_is_looked_at_and_no_longer_one() -> None:
    """M-05: the document's have under 100."""
    start = f"{LINK}&more="
    outgoing(start + "x" * (2048 - len(start)), allow=["more"])
    with pytest.raises(ParameterError, match="is not a plain link"):
        outgoing(start + "x" * (2049 - len(start)), allow=["more"])
