"""A session is made from the environment that ``chaoying sandbox`` prints."""

from __future__ import annotations

from typing import Any

import pytest

from chaoying_async import GatewaySession, Hosts, OrderQuery, PayType
from chaoying_async.exceptions import OrderNotFoundError, ParameterError
from chaoying_async.sandbox import Sandbox

CREDENTIALS = {
    "CHAOYING_AGENT_ID": "95272019032500001",
    "CHAOYING_KEY": "0123456789abcdef",
    "CHAOYING_PID": "test_pid",
}


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*CREDENTIALS, "CHAOYING_URL", "CHAOYING_MCH_ID", "CHAOYING_OP_USER_ID"):
        monkeypatch.delenv(name, raising=False)


def set_to(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


async def test_what_a_sandbox_exports_is_all_that_a_session_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Address, merchant and operator too: none of its calls goes to production."""
    async with Sandbox() as sandbox, sandbox.serve() as url:
        variables = {
            "CHAOYING_AGENT_ID": sandbox.credentials.agent_id,
            "CHAOYING_KEY": sandbox.credentials.key,
            "CHAOYING_PID": sandbox.credentials.pid,
            "CHAOYING_URL": url,
            "CHAOYING_MCH_ID": sandbox.mch_id,
            "CHAOYING_OP_USER_ID": "till1",
        }
        set_to(monkeypatch, variables)
        async with GatewaySession.from_env() as gateway:
            assert (gateway.mch_id, gateway.op_user_id) == (sandbox.mch_id, "till1")
            with pytest.raises(OrderNotFoundError):
                await gateway.send(OrderQuery(paytype=PayType.WECHAT, out_trade_no="NOSUCH1"))


def test_without_an_address_it_is_production(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a session that is made by hand; and it names no merchant."""
    set_to(monkeypatch, CREDENTIALS)
    gateway = GatewaySession.from_env()
    assert gateway.hosts == Hosts.document()
    assert (gateway.mch_id, gateway.op_user_id) == (None, None)


def test_what_is_given_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """The constructor's options, over the environment."""
    set_to(monkeypatch, CREDENTIALS | {"CHAOYING_MCH_ID": "1", "CHAOYING_URL": "http://localhost"})
    gateway = GatewaySession.from_env(mch_id="2", device_info="till1", hosts=Hosts.v3_2())
    assert (gateway.mch_id, gateway.hosts) == ("2", Hosts.v3_2())


@pytest.mark.parametrize(
    ("variables", "problems"),
    [
        ({}, {*CREDENTIALS}),
        (CREDENTIALS | {"CHAOYING_URL": ""}, {"CHAOYING_URL"}),
        (CREDENTIALS | {"CHAOYING_URL": "   "}, {"CHAOYING_URL"}),
        (CREDENTIALS | {"CHAOYING_URL": "localhost:8000"}, {"CHAOYING_URL"}),
        (CREDENTIALS | {"CHAOYING_URL": "http://sandbox:8000"}, {"CHAOYING_URL"}),
        (
            {"CHAOYING_URL": "", "CHAOYING_MCH_ID": "", "CHAOYING_OP_USER_ID": " "},
            {*CREDENTIALS, "CHAOYING_URL", "CHAOYING_MCH_ID", "CHAOYING_OP_USER_ID"},
        ),
    ],
)
def test_all_that_is_missing_or_blank_is_named_at_once(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], problems: set[str]
) -> None:
    """An address that is exported but empty is a mistake, and never production."""
    set_to(monkeypatch, variables)
    with pytest.raises(ParameterError) as caught:
        GatewaySession.from_env()
    assert set(caught.value.problems) == problems


def test_an_option_that_does_not_exist_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the constructor that refuses it."""
    set_to(monkeypatch, CREDENTIALS)
    unknown: dict[str, Any] = {"merchant": "1"}
    with pytest.raises(TypeError, match="merchant"):
        GatewaySession.from_env(**unknown)
