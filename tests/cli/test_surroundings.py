"""Files that PowerShell wrote, terminals without colours, and addresses of IPv6."""

from __future__ import annotations

import codecs
import os
import pty
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from chaoying_async import Credentials, Hosts, OrderQuery, PayType
from chaoying_async.cli.text_files import in_utf8
from chaoying_async.clock import SystemClock
from chaoying_async.exceptions import OrderNotFoundError
from chaoying_async.sandbox import Sandbox
from chaoying_async.session import GatewaySession
from chaoying_async.testing import sign_notification
from tests.cli.processes import begun, line_of, process, sandbox
from tests.cli_calls import NOTHING, UsersProgram, call, environment
from tests.sizes import cases

KEY = "key-of-the-surroundings"
WHO: dict[str, str | None] = {
    "CHAOYING_KEY": KEY,
    "CHAOYING_AGENT_ID": "1",
    "CHAOYING_PID": "p",
}
BODY = sign_notification(
    Credentials(agent_id="1", key=KEY, pid="p"), out_trade_no="A100011", attach="茶"
)
TEXT = BODY.decode()
MARKED = {
    "utf-8": codecs.BOM_UTF8 + BODY,
    "utf-16-le": codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"),
    "utf-16-be": codecs.BOM_UTF16_BE + f"{TEXT}\r\n".encode("utf-16-be"),
    "utf-16 without a mark": f"{TEXT}\r\n".encode("utf-16-le"),
    "utf-16-be without a mark": TEXT.encode("utf-16-be"),
    "utf-32": codecs.BOM_UTF32_LE + TEXT.encode("utf-32-le"),
}


class TestFiles:
    """`>` of PowerShell writes UTF-16, an editor may write a mark."""

    @pytest.mark.parametrize("encoding", MARKED)
    @pytest.mark.parametrize("command", ["doctor", "verify"])
    def test_a_message_is_read(self, command: str, encoding: str, tmp_path: Path) -> None:
        """From a file and from stdin; that it was changed stands on stderr."""
        file = tmp_path / "message.txt"
        file.write_bytes(MARKED[encoding])
        for result in (
            call(command, str(file), env=WHO),
            call(command, "-", env=WHO, input=MARKED[encoding]),
        ):
            assert result.exit_code == 0, result.output
            assert f"the message was read as {encoding[:6].upper()}" in result.stderr
            assert "right" in result.stdout

    def test_what_is_plain_stays_as_it_is(self, tmp_path: Path) -> None:
        """Nothing is changed in UTF-8, nor where the bytes do not fit their mark."""
        file = tmp_path / "message.txt"
        file.write_bytes(BODY + b"\r\n")
        result = call("doctor", str(file), env=WHO)
        assert (result.exit_code, result.stderr) == (0, "")
        for odd in (BODY, b"", b"a", b"a=1\x00", b"\xff\xfea", b"\x00", b"\xff\xfe\x00\xd8"):
            assert in_utf8(odd) == (odd, "")


class TestColours:
    def test_stderr_has_none_where_the_environment_says_so(self) -> None:
        """Errors and remarks too; without it they are red."""
        assert "\x1b[" in _stderr_of_a_terminal({})
        for more in cases([{"NO_COLOR": "1"}], more=[{"TERM": "dumb"}]):
            seen = _stderr_of_a_terminal(more)
            assert "no sandbox at" in seen
            assert "\x1b" not in seen


def _stderr_of_a_terminal(more: dict[str, str]) -> str:
    """What stands on stderr, which is a terminal."""
    env = {**NOTHING, **WHO, "CHAOYING_MCH_ID": "1", "CHAOYING_URL": "http://127.0.0.1:9"}
    ours, theirs = pty.openpty()
    whole = {**environment(env), "NO_COLOR": "", **more}
    with begun("trigger", "calm", env=whole, stdout=subprocess.DEVNULL, stderr=theirs):
        os.close(theirs)
        seen = b""
        with suppress(OSError):  # EIO: the other end is closed
            while chunk := os.read(ours, 4096):
                seen += chunk
        os.close(ours)
    return seen.decode()


def _has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.skipif(not _has_ipv6(), reason="this machine has no ::1")
class TestAddressesOfIpv6:
    @pytest.mark.parametrize("host", cases(["::1"], more=["[::1]"]))
    def test_sandbox_and_listen_print_an_address_that_works(self, host: str) -> None:
        """In brackets, as a URL has it; and without a token, since only this machine reaches it."""
        with sandbox("--host", host) as world:
            assert world.url.startswith("http://[::1]:")
            assert "token" not in world.told
            assert world.ask("query", "NOSUCH1")["error"] == "OrderNotFoundError"
            options = ("listen", "--json", "--host", host, "--count", "1")
            with process(*options, env=world.env) as listener:
                notify_url = line_of(listener)["url"]
                assert notify_url.startswith("http://[::1]:")
                told = world.ask("trigger", "paid", "--notify-url", f"{notify_url}/notify")
                assert told["deliveries"][0]["accepted"]

    async def test_a_sandbox_in_a_program_is_served_there_too(self) -> None:
        """Gateway and console, at the address that it gives."""
        async with (
            Sandbox(clock=SystemClock()) as made,
            made.serve(host="::1", console=True) as url,
            GatewaySession(made.credentials, mch_id="00000001", hosts=Hosts.single(url)) as till,
            httpx.AsyncClient(trust_env=False) as browser,
        ):
            with pytest.raises(OrderNotFoundError):
                await till.send(OrderQuery(paytype=PayType.WECHAT, out_trade_no="NOSUCH1"))
            page = await browser.get(f"{url}/console/")
            assert page.status_code == 200


class TestAddressesThatDoNotWork:
    @pytest.mark.parametrize("host", ["203.0.113.7", "nosuch.invalid"])
    def test_they_are_named(self, host: str) -> None:
        """Not this machine's: a sentence, and what to take instead."""
        result = call("listen", "--host", host, env=WHO)
        assert result.exit_code == 2
        assert f"{host} is no address of this machine" in result.stderr

    def test_a_port_that_is_taken(self) -> None:
        """Named with its host."""
        with UsersProgram().serving() as url:
            port = url.rpartition(":")[2].partition("/")[0]
            result = call("listen", "--port", port, env=WHO)
        assert result.exit_code == 2
        assert f"port {port} of 127.0.0.1 is in use" in result.stderr
