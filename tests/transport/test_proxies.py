"""M-01: which proxy a request goes through, and proxies through which nothing can ever go."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

from chaoying_async import (
    ChaoyingWarning,
    GatewaySession,
    Hosts,
    OutcomeUnknownError,
    ParameterError,
    RequestNotSentError,
    SystemClock,
)
from chaoying_async.transport import AiohttpTransport
from chaoying_async.transport.proxies import Proxies, is_left_out
from chaoying_async.transport.request_bytes import parse_url
from tests.engines import ENGINES, call, running
from tests.factories import CREDENTIALS, every_request
from tests.table import table
from tests.tcp_server import Link, TcpServer, as_elsewhere, polite, reply

SECRET = "hal@f#TAIL"
#: Names that Python's resolver refuses with an error that does not say "not sent".
NO_NAMES = [".", "..", "...", ".a", "a..", "a..b", "a" * 64, f"a.{'b' * 64}.cn", "a." * 140 + "cn"]
#: The longest that it takes, and those with a dot behind the last label.
NAMES = ["a" * 63, f"{'a' * 63}.{'b' * 63}.", "a.", "a.b.", "a_b", "127.0.0.1"]


# ------------------------------------------------------------------------------------- NO_PROXY

#: NO_PROXY, what it leaves out, what it does not: an entry is (host, port).
LEFT_OUT: list[tuple[str, list[str], list[str]]] = [
    ("", [], ["http://h", "http://[::1]"]),
    ("*", ["http://h", "https://[::1]:8", "http://10.1.2.3"], []),
    (" * ", ["http://h"], []),
    ("h", ["http://h", "https://h:9", "http://a.h", "http://H", "http://h."], ["http://xh"]),
    (".h.cn", ["http://h.cn", "http://a.h.cn", "http://a.b.h.cn"], ["http://xh.cn", "http://cn"]),
    ("*.h.cn", ["http://h.cn", "http://a.h.cn"], ["http://xh.cn"]),
    ("H.CN.", ["http://h.cn", "http://A.h.cn."], ["http://h.cn.de"]),
    ("a,b", ["http://a", "http://b"], ["http://c"]),
    (" a ,, b c\t,", ["http://a", "http://b", "http://c"], ["http://d"]),
    ("h:8080", ["http://h:8080", "http://a.h:8080"], ["http://h", "https://h", "http://h:80"]),
    ("h:80", ["http://h", "http://h:80"], ["https://h", "http://h:8080"]),
    ("h:443", ["https://h", "http://h:443"], ["http://h"]),
    ("h:99999", [], ["http://h"]),
    ("h:99999999999", [], ["http://h"]),
    ("h:", [], ["http://h"]),
    (":80", [], ["http://h"]),
    ("127.0.0.1", ["http://127.0.0.1", "https://127.0.0.1:9"], ["http://127.0.0.11"]),
    ("127.0.0.1:9", ["http://127.0.0.1:9"], ["http://127.0.0.1"]),
    ("0.0.1", [], ["http://127.0.0.1"]),
    ("10.0.0.0/8", ["http://10.255.1.2:9"], ["http://11.0.0.1", "http://h"]),
    ("10.1.2.3/8", ["http://10.255.1.2"], ["http://11.0.0.1"]),
    ("10.0.0.0/255.0.0.0", ["http://10.2.3.4"], ["http://11.0.0.1"]),
    ("10.0.0.1/32", ["http://10.0.0.1"], ["http://10.0.0.2"]),
    ("0.0.0.0/0", ["http://10.0.0.1"], ["http://[::1]", "http://h"]),
    ("10.0.0.0/33,10.0.0.0/x,/8,10/8", [], ["http://10.0.0.1"]),
    ("::1", ["http://[::1]", "http://[::1]:9", "http://[0:0:0:0:0:0:0:1]"], ["http://[::2]"]),
    ("[::1]", ["http://[::1]", "http://[::1]:9"], ["http://[::2]", "http://1"]),
    ("[::1]:9", ["http://[::1]:9"], ["http://[::1]"]),
    ("0:0::1", ["http://[::1]"], ["http://[::2]"]),
    ("FD00::A", ["http://[fd00::a]"], ["http://[fd00::b]"]),
    ("fd00::/8", ["http://[fd12::1]:9"], ["http://[fe80::1]", "http://10.0.0.1"]),
    ("[fd00::]/8", ["http://[fd12::1]"], ["http://[fe80::1]"]),
    ("::/0", ["http://[fd12::1]"], ["http://10.0.0.1"]),
    ("[::1", [], ["http://[::1]", "http://h"]),
    ("bücher.cn", ["http://xn--bcher-kva.cn", "http://a.xn--bcher-kva.cn"], ["http://bcher.cn"]),
    ("xn--bcher-kva.cn", ["http://xn--bcher-kva.cn"], []),
    ("." + "x" * 70 + "ü", [], ["http://h"]),
    ("http://h", [], ["http://h"]),
    ("h/", [], ["http://h"]),
    ("*h", ["http://h"], ["http://xh"]),
    ("...", [], ["http://h", "http://."]),
]


@table(("no_proxy", "direct", "through"), LEFT_OUT)
def test_no_proxy_is_read_as_curl_and_requests_read_it(
    no_proxy: str, direct: list[str], through: list[str]
) -> None:
    """Names and what is below them, addresses, networks, ports; no piece of a name."""
    for url in direct + through:
        address = parse_url(url)
        assert is_left_out(no_proxy, address.host, address.port) is (url in direct), url


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http", "https", "all", "no"):
        for spelled in (f"{name}_proxy", f"{name}_proxy".upper()):
            monkeypatch.delenv(spelled, raising=False)


@pytest.mark.parametrize("kind", ["aiohttp", "httpx"])
@pytest.mark.parametrize("variable", ["NO_PROXY", "no_proxy"])
async def test_what_no_proxy_names_gets_its_request_directly(
    kind: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On either engine, by name and by port; everything else goes through the proxy."""
    name = as_elsewhere(monkeypatch)
    async with TcpServer(polite) as server, TcpServer(polite) as proxy:
        url = f"http://{name}:{server.port}/pay"
        monkeypatch.setenv("http_proxy", proxy.url())
        for entry in (f"{name}:{server.port}", ".test", f"10.0.0.1,{name}"):
            monkeypatch.setenv(variable, entry)
            async with running(kind, trust_env=True) as engine:
                assert await call(engine, url) == (200, b"ok")
        assert (len(server.requests), len(proxy.requests)) == (3, 0)
        monkeypatch.setenv(variable, f"{name}:{server.port + 1},128.0.0.0/8")
        async with running(kind, trust_env=True) as engine:
            await call(engine, url)
        assert (len(server.requests), len(proxy.requests)) == (3, 1)


@pytest.mark.parametrize("kind", ["aiohttp", "httpx"])
async def test_what_is_sent_to_this_machine_stays_on_it(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plain http is for that alone (M-05): a proxy of the environment does not get it."""
    async with TcpServer(polite) as server, TcpServer(polite) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url())
        async with running(kind, trust_env=True) as engine:
            for host in ("127.0.0.1", "localhost"):
                assert await call(engine, f"http://{host}:{server.port}/pay") == (200, b"ok")
        assert (len(server.requests), len(proxy.requests)) == (2, 0)
        for host in ("[::1]", "LOCALHOST.", "till.localhost", "127.8.9.10"):
            assert Proxies(trust_env=True).to(parse_url(f"http://{host}:9/pay")) is None


@pytest.mark.parametrize("through", [{"proxy": True}, {"transport": True}])
async def test_who_may_be_anybody_proves_nothing_by_an_unsigned_refusal(
    through: Mapping[str, bool],
) -> None:
    """M-09: a proxy may answer in the place of this machine, whoever was told to use it."""
    refusal = reply(b'{"state":"FAIL","code":"20005","msg":"no such merchant"}')

    async def refusing(link: Link) -> None:
        await link.request()
        await link.send(refusal)

    async with TcpServer(refusing) as proxy, AsyncExitStack() as stack:
        how: dict[str, Any] = {"proxy": proxy.url()}
        if "transport" in through:
            made = AiohttpTransport(limits=httpx.Limits(), clock=SystemClock(), **how)
            stack.push_async_callback(made.aclose)
            how = {"transport": made}
        hosts = Hosts.single("http://127.0.0.1:9")
        async with GatewaySession(CREDENTIALS, hosts=hosts, **how) as till:
            with pytest.raises(OutcomeUnknownError):
                await till.send(every_request()["pay"])


async def test_a_transport_of_ours_that_verifies_nothing_is_warned_of() -> None:
    """M-09: as a session is with ``verify=False``; no unsigned refusal is believed then."""
    made = AiohttpTransport(limits=httpx.Limits(), verify=False, clock=SystemClock())
    with pytest.warns(ChaoyingWarning, match="verifies nothing"):
        async with GatewaySession(CREDENTIALS, transport=made):
            pass
    await made.aclose()


def test_small_letters_win_and_each_scheme_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """As everywhere else; ALL_PROXY is for what has none of its own."""
    for name, value in {
        "HTTPS_PROXY": "http://upper:1", "https_proxy": "small:2", "ALL_PROXY": "http://all:3",
        "NO_PROXY": "upper", "no_proxy": "small",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    proxies = Proxies(trust_env=True)
    found = {url: proxies.to(parse_url(url)) for url in ("https://h", "http://h", "http://upper")}
    assert {url: via and via.url for url, via in found.items()} == {
        "https://h": "http://small:2", "http://h": "http://all:3", "http://upper": "http://all:3"
    }  # fmt: skip
    assert proxies.to(parse_url("http://small")) is None
    assert Proxies().to(parse_url("http://h")) is None


def test_a_proxy_that_was_handed_in_is_used_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who names one means it."""
    monkeypatch.setenv("NO_PROXY", "*")
    via = Proxies("http://mine:1", trust_env=True).to(parse_url("https://h"))
    assert via is not None
    assert via.url == "http://mine:1"


# ------------------------------------------------------------------------- out of the question

NO_PROXIES = [
    "http://p:99999", "http://p:0", "http://p:65536", "http://p:-1", "http://p:1a", "https://p:99999",
    "http://", "http://:3128", "http:///x", "socks4://p:1", "ftp://p:1", "file:///x", "socks5://",
    "http://p p:1", "http://p\n:1", "http://[::1", "http://[::g]:1", "http://::1:3128", "http://p/x",
    "http://p?x", "http://p#x", f"http://u:{SECRET}@p:1", f"http://u:{SECRET}@p:99999",
    "http://u:a/b@p:1", "http://%zz:1", "http://300.1.1.1:1", "http://p:1:2", "http://p%41:1",
    *(f"http://{name}:9" for name in NO_NAMES), "https://a..b", "http://u:pw@a..b:80",
    "socks5://a..b:1",
]  # fmt: skip


def clean(error: BaseException) -> None:
    """Nothing of a password in it, or in what it came from."""
    chained: BaseException | None = error
    while chained is not None:
        assert "TAIL" not in f"{chained!r} {chained} {vars(chained)}"
        chained = chained.__cause__ or chained.__context__


async def refused(**options: Any) -> ParameterError:
    till = GatewaySession(CREDENTIALS, mch_id="1", **options)
    with pytest.raises(ParameterError) as caught:
        async with till:
            pass
    clean(caught.value)
    return caught.value


@table("proxy", NO_PROXIES)
async def test_a_proxy_that_nothing_can_go_through_is_refused_when_the_session_opens(
    proxy: str,
) -> None:
    """M-01: nothing could leave, so no payment's outcome is unknown."""
    assert list((await refused(proxy=proxy)).problems) == ["proxy"]


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "ALL_PROXY"])
@pytest.mark.parametrize("proxy", [*NO_PROXIES[:7], NO_PROXIES[15], NO_PROXIES[21], "p:99999"])
async def test_so_is_the_environments(
    variable: str, proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """M-01: and the variable is named; without trust_env nobody reads it."""
    monkeypatch.setenv(variable, proxy)
    assert variable.upper() in str(await refused(trust_env=True))
    async with GatewaySession(CREDENTIALS):
        pass


@pytest.mark.parametrize("proxy", [5, b"http://p:1", object(), httpx.URL("http://p:99999")])
async def test_so_is_what_is_no_proxy(proxy: Any) -> None:
    """M-01: of another type."""
    assert list((await refused(proxy=proxy)).problems) == ["proxy"]


def test_the_fields_of_a_proxy_have_to_be_fit_to_be_sent() -> None:
    """M-01: refused with the proxy, not at each call."""
    with pytest.raises(ParameterError, match="proxy"):
        Proxies(httpx.Proxy("http://p:1", headers=[(b"X", b"a\r\nb")]))


def _knows_socks5h() -> bool:
    try:
        httpx.Proxy("socks5h://p:1")
    except ValueError:  # httpx 0.27
        return False
    return True


_SOCKS5H = [("socks5h://u:pw@p:1", "socks5h://p:1")] if _knows_socks5h() else []


@pytest.mark.parametrize(
    ("proxy", "url"),
    [
        ("http://p", "http://p"), ("http://p:1/", "http://p:1"), ("HTTP://P:1", "http://p:1"),
        ("http://[::1]:3128", "http://[::1]:3128"), ("https://p:1", "https://p:1"),
        *_SOCKS5H, ("http://u:p%40w@p:1", "http://p:1"),
        ("http://u@p:1", "http://p:1"), ("http://:pw@p:1", "http://p:1"),
        ("http://b\u00fccher.cn:1", "http://xn--bcher-kva.cn:1"), (" http://p:1 ", "http://p:1"),
        (httpx.URL("http://p:1"), "http://p:1"), (httpx.Proxy("http://p:1"), "http://p:1"),
    ],
)  # fmt: skip
def test_a_proxy_in_any_form_is_read_without_its_credentials(proxy: Any, url: str) -> None:
    """M-27: they stand in fields that no repr shows."""
    (via,) = Proxies(proxy).all
    assert via.url == url
    assert "pw" not in repr(via)
    assert "Basic" not in repr(via)


async def test_socks_without_its_package_is_refused_when_the_session_opens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """M-01: with what to install."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    assert "socksio" in str(await refused(proxy="socks5://127.0.0.1:1"))


@pytest.mark.parametrize("kind", ["aiohttp", "httpx"])
async def test_a_proxy_with_an_ipv6_address_is_reached(kind: str) -> None:
    """In brackets, as in any URL."""
    try:
        ipv6 = TcpServer(polite, host="::1")
        async with ipv6 as proxy, running(kind, proxy=f"http://[::1]:{proxy.port}") as engine:
            assert await call(engine, "http://gateway.invalid/pay") == (200, b"ok")
    except OSError:
        pytest.skip("no IPv6 on this machine")


# ---------------------------------------------------------------------------------- certificates


async def test_files_that_are_no_certificates_are_refused_when_the_session_opens(
    tmp_path: Path,
) -> None:
    """M-01: missing, no PEM, a key that does not fit, one whose password is missing or wrong."""
    authority = trustme.CA()
    one, other = authority.issue_cert("a"), authority.issue_cert("b")
    files = {
        "chain": one.cert_chain_pems[0].bytes(),
        "key": one.private_key_pem.bytes(),
        "other": other.private_key_pem.bytes(),
        "text": b"no certificate",
        "empty": b"",
    }
    paths = {name: tmp_path / name for name in files}
    for name, content in files.items():
        paths[name].write_bytes(content)
    chain, key, other_key = (str(paths[name]) for name in ("chain", "key", "other"))
    for verify in (
        str(tmp_path / "missing"),
        str(paths["text"]),
        paths["empty"],
        None,
        5,
        b"\0",
        "",
    ):
        assert list((await refused(verify=verify)).problems) == ["verify"]
    certs: list[Any] = [
        str(tmp_path / "missing"), str(paths["text"]), chain, (chain, other_key), (),
        (chain, "missing"), (chain, key, "pw", "more"), 5, (5, 6), str(tmp_path),
    ]  # fmt: skip
    for context in (True, ssl.create_default_context()):
        for cert in certs:
            assert list((await refused(verify=context, cert=cert)).problems) == ["cert"]
        async with GatewaySession(CREDENTIALS, verify=context, cert=(chain, key)):
            pass
    async with GatewaySession(CREDENTIALS, cert=(paths["chain"], paths["key"])):  # type: ignore[arg-type]
        pass


async def test_an_encrypted_key_asks_nobody_on_the_terminal(tmp_path: Path) -> None:
    """M-01: a service that starts has nobody to type a password."""
    from cryptography.hazmat.primitives import serialization as forms

    one = trustme.CA().issue_cert("a")
    plain = forms.load_pem_private_key(one.private_key_pem.bytes(), None)
    locked = plain.private_bytes(
        forms.Encoding.PEM,
        forms.PrivateFormat.PKCS8,
        forms.BestAvailableEncryption(SECRET.encode()),
    )
    chain, key = tmp_path / "chain", tmp_path / "key"
    chain.write_bytes(one.cert_chain_pems[0].bytes())
    key.write_bytes(locked)
    for cert in ((str(chain), str(key)), (str(chain), str(key), "wrong TAIL")):
        assert list((await refused(cert=cert)).problems) == ["cert"]
    async with GatewaySession(CREDENTIALS, cert=(str(chain), str(key), SECRET)):
        pass


async def test_certificates_that_the_environment_names_have_to_be_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """M-01: with trust_env; httpx reads these two."""
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/at/all.pem")
    assert "SSL_CERT_FILE" in str(await refused(trust_env=True))


@pytest.mark.parametrize("name", [*NAMES, "[::1]"])
@pytest.mark.parametrize("engine", ["http", "socks5"])
def test_a_proxys_name_may_be_as_long_as_a_resolver_takes(name: str, engine: str) -> None:
    """63 characters a label, and a dot at the end."""
    (via,) = Proxies(f"{engine}://{name}:9").all
    assert via.url == f"{engine}://{name}:9"


# ------------------------------------------------------------------------------------------- hosts


@pytest.mark.parametrize(
    "url",
    [
        "https://h:99999", "https://h:0", "https://h:65536", "https://h:x", "https://h:-1", "https://h:",
        "https://h h", "https://", "https://支付", "https://[::1", "https://h/a b", "https://h/支付",
        "HTTPS://h", "https://h\\x", "https://h%41", "http://127.0.0.1:99999", "http://[::1]:0",
        *(f"https://{name}/" for name in NO_NAMES), "https://a..b:443/x", "http://.localhost",
    ],
)  # fmt: skip
def test_an_address_that_could_never_be_sent_to_is_refused_when_hosts_are_made(url: str) -> None:
    """M-01: each call would fail, "not sent", for ever."""
    with pytest.raises(ParameterError):
        Hosts.single(url)
    with pytest.raises(ParameterError):
        Hosts(pay="https://h", api=url, qrpay="https://h")


@pytest.mark.parametrize(
    "url",
    [
        *("https://h", "https://h:443/x/", "https://h_x.cn", "http://[::1]:65535"),
        *(f"https://{name}" for name in NAMES),
        *("http://127.0.0.1", "https://a.:443/x", "http://localhost.:1"),
    ],
)
def test_every_other_address_is_kept(url: str) -> None:
    """What is allowed is what the engines can write."""
    hosts = Hosts.single(url)
    assert hosts.pay == url.rstrip("/")


@pytest.mark.parametrize("kind", ENGINES)
@pytest.mark.parametrize(
    "url", ["https://256.1.1.1:1/x", "https://1.2.3.4.5:1/", "https://xn--:1/"]
)
async def test_a_host_that_only_httpx_refuses_is_not_sent_to(kind: str, url: str) -> None:
    """M-01: its errors for such an address are no transport's, but nothing has left."""
    async with running(kind) as engine:
        with pytest.raises(RequestNotSentError):
            await call(engine, url)
        with pytest.raises(RequestNotSentError):
            await call(engine, f"{url}?sign=TAIL")
