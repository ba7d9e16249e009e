"""Where requests may go, and what of an address is shown."""

from __future__ import annotations

import pytest

from chaoying_async import Hosts, OrderQuery, ParameterError, QrConfGet
from chaoying_async.sansio.hosts import host_and_port, is_trusted
from tests.table import table


@table(
    "url, shown",
    [
        ("https://pay.example/a?b=1", "pay.example:443"),
        ("http://pay.example", "pay.example:80"),
        ("https://pay.example:8443/a", "pay.example:8443"),
        ("socks5://u:p@proxy.example", "proxy.example:1080"),
        ("socks5h://proxy.example", "proxy.example:1080"),
        ("https://[2001:db8::1]/a", "[2001:db8::1]:443"),
        ("https://[2001:db8::1]:9/a", "[2001:db8::1]:9"),
        ("ftp://files.example/a", "files.example"),
        ("https:///a", ""),
        ("/a", ""),
        ("https://pay.example:port", ""),
        ("https://[pay.example", ""),
    ],
)
def test_of_an_address_host_and_port_are_shown(url: str, shown: str) -> None:
    """M-27: neither a user, nor a path, nor a query; the port that the scheme stands for too."""
    assert host_and_port(url) == shown


@table("url", ["https://pay.example:0", "https://付款.example", "https://a..example", "https://"])
def test_an_address_that_no_request_can_be_written_to_is_refused(url: str) -> None:
    """M-01: of what a resolver or an engine refuses, nobody could tell that nothing was sent."""
    with pytest.raises(ParameterError, match="url"):
        Hosts.single(url)
    with pytest.raises(ParameterError, match=r"overrides\[OrderQuery\]"):
        Hosts(pay="https://a.example", api="https://a.example", qrpay="https://a.example",
              overrides={OrderQuery: url})  # fmt: skip


@table("url", ["https://proxy.example/MAX", "https://proxy.example/MAX/", "https://a.example/X//"])
def test_a_base_address_loses_the_slashes_at_its_end_and_nothing_else(url: str) -> None:
    """Paths follow it that begin with one."""
    assert Hosts.single(url).url_of(OrderQuery) == url.rstrip("/") + "/UnifiedPay/Gateway"


def test_a_scanned_link_brings_its_own_address() -> None:
    """M-05: no base address is put before it, unless somebody gives that call one."""
    assert Hosts.document().url_of(QrConfGet) == ""
    given = "https://a.example/b"
    hosts = Hosts(pay=given, api=given, qrpay=given, overrides={QrConfGet: given})
    assert hosts.url_of(QrConfGet) == given


def test_an_unsigned_refusal_is_believed_over_verified_https_alone() -> None:
    """M-09: or from this machine; verification is the default."""
    assert is_trusted("https://pay.example/a")
    assert not is_trusted("https://pay.example/a", verify=False)
    assert not is_trusted("http://pay.example/a")
    for url in ("http://127.0.0.1:8000/a", "http://localhost/a", "http://[::1]/a"):
        assert is_trusted(url, verify=False)
