"""``chaoying check`` connects to every host that a configuration uses, and asks nothing there."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator

import pytest

from chaoying_async import Hosts
from chaoying_async.cli import reach
from chaoying_async.cli.reach import other_hosts
from tests.cli_calls import Running, call, in_thread, said
from tests.engines import tls
from tests.tcp_server import Link, TcpServer, refused_port

PREORDERS = ("WECHAT_PreOrder", "ALIPAY_PreOrder")


@pytest.fixture(autouse=True)
def _handshake_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's side of a broken handshake is logged by asyncio; that is not the subject."""
    monkeypatch.setattr(logging.getLogger("asyncio"), "disabled", True)


async def listen_only(link: Link) -> None:
    """Take whatever comes: nothing may come."""
    link.server.received += await link.reader.read()


async def test_a_host_that_can_be_reached_is_asked_nothing() -> None:
    """One connection with TLS, not a byte of a request; each host once, with its calls."""
    async with TcpServer(listen_only, tls().server) as server:
        url = server.url("").rstrip("/")
        hosts = Hosts(pay="https://pay.invalid", api="https://api.invalid", qrpay=url)
        asked = {"pay.invalid:443", "api.invalid:443"}
        (found,) = await other_hosts(hosts, asked, context=tls().client)
    assert (found.host, found.calls) == (f"localhost:{server.port}", PREORDERS)
    assert (found.protocol, found.trouble) == ("TLSv1.3", "")
    assert (server.connections, bytes(server.received)) == (1, b"")


async def test_what_is_wrong_with_each_host_is_said() -> None:
    """Refused, not found, no TLS there, an authority that nobody knows: side by side."""
    async with (
        TcpServer(listen_only, tls().server) as server,
        TcpServer(listen_only) as plain,
    ):
        hosts = Hosts(
            pay=f"https://127.0.0.1:{refused_port()}",
            api="https://gateway.invalid",
            qrpay=server.url("").rstrip("/"),
        )
        found = {each.host: each.trouble for each in await other_hosts(hosts, ())}
        open_one = Hosts.single(plain.url("").rstrip("/"))
        (plainly,) = await other_hosts(open_one, ())
    assert "the connection was refused" in found[hosts.pay.removeprefix("https://")]
    assert "its name is not found" in found["gateway.invalid:443"]
    assert "an authority that this machine does not know" in found[f"localhost:{server.port}"]
    assert (plainly.protocol, plainly.trouble) == ("no TLS", "")


async def test_a_host_that_does_not_answer_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is a time-out, with its seconds."""
    monkeypatch.setattr(reach, "PATIENCE", 0.05)

    async with TcpServer(listen_only) as mute:
        hosts = Hosts.single(mute.url("", "https").rstrip("/"))
        (found,) = await other_hosts(hosts, ())
    assert found.trouble.endswith("(timeout: connect=0.05 s)")


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with in_thread() as made:
        yield made


def test_one_address_for_everything_is_one_row(running: Running) -> None:
    """A sandbox: it was asked, so nothing else is opened."""
    told = running.ask("check")
    assert told["exit"] == 0
    assert [each for each in told["checks"] if each["check"].startswith("address")] == [
        {
            "check": f"address {running.url.removeprefix('http://')}",
            "fine": True,
            "answer": told["checks"][0]["answer"],
            "means": "it speaks like the gateway",
        }
    ]


@pytest.mark.parametrize(
    ("hosts", "others"),
    [("document", {"qrpay.pos.cn:443"}), ("v3.2", {"dev.ttdh.cc:443"})],
)
def test_every_generation_of_addresses_is_looked_at(
    monkeypatch: pytest.MonkeyPatch, hosts: str, others: set[str]
) -> None:
    """Production without a network: each host has its row, and why it was not reached."""

    def nothing(*_where: object, **_more: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "no network in tests")

    monkeypatch.setattr(socket, "getaddrinfo", nothing)
    env = {"CHAOYING_KEY": "k", "CHAOYING_AGENT_ID": "1", "CHAOYING_PID": "p"}
    result = call("check", "--hosts", hosts, "--mch-id", "1", "--json", env={**env})
    rows = {each["check"]: each for each in said(result)["checks"]}
    for host in {"pay.storepos.cn:443", "api.storepos.cn:443"} | others:
        assert "its name is not found" in rows[f"address {host}"]["means"]
        assert rows[f"address {host}"]["fine"] is False
