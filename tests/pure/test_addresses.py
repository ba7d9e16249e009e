"""Where requests may go, and what of an address is shown."""

from __future__ import annotations

import pytest

from chaoying_async import Hosts, OrderQuery, ParameterError
from chaoying_async.sansio.hosts import host_and_port
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
