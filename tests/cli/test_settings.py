"""What is missing or damaged in the environment is named, all at once, before anything is sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from chaoying_async import Credentials, GatewaySession, Hosts
from chaoying_async.cli.exits import Exit
from chaoying_async.exceptions import ParameterError
from tests.cli_calls import Running, call, in_thread

WHO = ("CHAOYING_AGENT_ID", "CHAOYING_KEY", "CHAOYING_PID")
MERCHANT = "CHAOYING_MCH_ID"
KEY = "0123456789abcdef"
NAMED: dict[str, str | None] = {
    "CHAOYING_AGENT_ID": "95272019032500001",
    "CHAOYING_KEY": KEY,
    "CHAOYING_PID": "test_pid",
    "CHAOYING_MCH_ID": "00000001",
    "CHAOYING_OP_USER_ID": "till1",
    "CHAOYING_URL": "http://127.0.0.1:9",
}
#: How a setting is damaged on its way from a file, and a word of what is said about it.
DAMAGE = {
    "\r at its end": ("{}\r", "carriage return"),
    "a line end": ("{}\n", "line end"),
    "a blank before it": (" {}", "blanks"),
    "a byte order mark": ("\ufeff{}", "BOM"),
    "a zero-width space": ("{}\u200b", "cannot be printed"),
}
PAY = ("send", "pay", "auth_code=130000000000001111", "body=tea", "out_trade_no=A100011")


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with in_thread() as made:
        yield made


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        (("query", "A100011"), (*WHO, MERCHANT)),
        (("refund-query", "R100011"), (*WHO, MERCHANT)),
        (("check",), (*WHO, MERCHANT)),
        ((*PAY, "total_fee=1"), (*WHO, MERCHANT)),
        (("inbox", "list"), ("CHAOYING_INBOX",)),
        (("trigger", "pays", "A100011"), ("CHAOYING_URL",)),
        (("poller", "status"), ("CHAOYING_STORE",)),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_an_empty_environment_names_the_variables_to_set(
    arguments: tuple[str, ...], variables: tuple[str, ...]
) -> None:
    """All of them at once."""
    result = call(*arguments)
    assert result.exit_code == Exit.USAGE
    for variable in variables:
        assert variable in result.stderr


def test_what_is_wrong_with_a_message_and_its_sender_is_said_together() -> None:
    """A bad amount hides no other problem, as a ParameterError hides none."""
    result = call(*PAY[:3], "total_fee=12.345", "out_trade_no=?")
    assert result.exit_code == Exit.USAGE
    for name in ("total_fee", "out_trade_no", *WHO, MERCHANT):
        assert f"{name}: " in result.stderr


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("variable", [name for name in NAMED if name != "CHAOYING_OP_USER_ID"])
def test_a_damaged_setting_is_named_before_it_is_used(variable: str, damage: str) -> None:
    """Files made on Windows leave such characters; they would be signed, and nobody known."""
    pattern, word = DAMAGE[damage]
    result = call("check", env={**NAMED, variable: pattern.format(NAMED[variable])})
    assert result.exit_code == Exit.USAGE
    assert word in result.stderr
    assert KEY not in result.output


@pytest.mark.parametrize("quotes", ['""', "''", "“”", "``"])
@pytest.mark.parametrize("command", [("check",), ("doctor", "a=1", "sign=" + "0" * 32)])
def test_a_key_in_quotes_is_named(command: tuple[str, ...], quotes: str) -> None:
    """They are the shell's, or the editor's, and no part of the key (M-27: it is not shown)."""
    result = call(*command, env={**NAMED, "CHAOYING_KEY": quotes[0] + KEY + quotes[1]})
    assert result.exit_code == Exit.USAGE
    assert "CHAOYING_KEY: stands in quotes" in result.stderr
    assert KEY not in result.output


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_program_is_told_the_same(damage: str) -> None:
    """Credentials, a session's defaults and addresses refuse what nobody sees."""
    pattern, word = DAMAGE[damage]
    who: dict[str, Any] = {"agent_id": "1", "key": KEY, "pid": "p", "version": "1.0"}
    damaged: dict[str, Any] = {name: pattern.format(text) for name, text in who.items()}
    with pytest.raises(ParameterError) as caught:
        Credentials(**damaged)
    assert set(caught.value.problems) == set(who)
    odd = pattern.format("till1")
    with pytest.raises(ParameterError) as caught:
        GatewaySession(Credentials(**who), mch_id=odd, op_user_id=odd, device_info=odd)
    assert set(caught.value.problems) == {"mch_id", "op_user_id", "device_info"}
    with pytest.raises(ParameterError, match=word):
        Hosts.single(pattern.format("http://127.0.0.1:9"))


def test_a_wrong_key_is_told_with_what_the_user_has(running: Running) -> None:
    """Whoever queries has no bytes for the doctor."""
    result = running.call("query", "A100011", env={"CHAOYING_KEY": "another key"})
    assert "CHAOYING_KEY" in result.stderr
    assert "chaoying check" in result.stderr
    assert "doctor" not in result.stderr


def test_plain_http_to_a_container_is_an_option_that_the_error_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Off by default: whoever is on the way reads and changes what is sent."""
    env = {**NAMED, "CHAOYING_URL": "http://sandbox.invalid:8000"}
    refused = call("query", "A100011", env=env)
    assert refused.exit_code == Exit.USAGE
    assert "CHAOYING_ALLOW_HTTP=1" in refused.stderr
    allowed = call("query", "A100011", env={**env, "CHAOYING_ALLOW_HTTP": "1"})
    assert allowed.exit_code == Exit.UNREACHED
    for name, value in env.items():
        monkeypatch.setenv(name, value or "")
    with pytest.raises(ParameterError, match="CHAOYING_ALLOW_HTTP=1"):
        GatewaySession.from_env()
    monkeypatch.setenv("CHAOYING_ALLOW_HTTP", "1")
    assert GatewaySession.from_env().hosts.pay == "http://sandbox.invalid:8000"
