"""The notifications as AsyncAPI: valid, whole, and what the sandbox sends."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from jsonschema import Draft7Validator  # type: ignore[import-untyped]

from chaoying_async.descriptions.asyncapi import ATTEMPTS
from chaoying_async.sandbox import Sandbox
from chaoying_async.sandbox.serving.notifier import PATIENCE, SCHEDULE
from tests.descriptions.validity import notification_problems, notifications, packed_problems
from tests.pure.spec import DOCUMENT, EXAMPLES, NOTIFICATIONS

#: AsyncAPI's own schema, from the npm package @asyncapi/specs (see its folder's README).
SCHEMA = Path(__file__).parents[1] / "data" / "asyncapi" / "3.0.0.json"


def test_it_is_asyncapi_by_the_rules() -> None:
    """AsyncAPI 3.0, by its own JSON Schema."""
    validator = Draft7Validator(json.loads(SCHEMA.read_text("utf-8")))
    assert [each.message for each in validator.iter_errors(notifications())] == []


def test_the_schema_would_find_a_mistake() -> None:
    """A validator that accepts everything would prove nothing."""
    validator = Draft7Validator(json.loads(SCHEMA.read_text("utf-8")))
    document = json.loads(json.dumps(notifications()))
    document["operations"]["receive_WECHAT_Notify"]["action"] = "recieve"
    assert not validator.is_valid(document)


def test_it_has_both_notifications_and_both_answers() -> None:
    """A shop receives the one and sends the other."""
    document = notifications()
    assert {each["action"] for each in document["operations"].values()} == {"receive"}
    received = [
        operation["messages"][0]["$ref"].rpartition("/")[2]
        for operation in document["operations"].values()
    ]
    assert sorted(received) == sorted(NOTIFICATIONS)
    assert set(document["channels"]["answer"]["messages"]) == {"success", "fail"}


@pytest.mark.parametrize("kind", ["WECHAT", "ALIPAY"])
async def test_what_the_sandbox_sends_is_described(kind: str) -> None:
    """Every field of it, and the JSON inside of fields."""
    async with Sandbox() as sandbox:
        body = sandbox.sign_notification("A100011", kind=kind, total_fee=1230)
    fields = dict(parse_qsl(body.decode(), strict_parsing=True))
    name = f"{kind}_Notify"
    assert notification_problems(name, fields) == []
    assert set(fields) <= set(notifications()["components"]["schemas"][name]["properties"])
    assert packed_problems(notifications(), name, fields) == []


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("WECHAT_Notify", "WECHAT_Notify.request.txt"),
        ("ALIPAY_Notify", "ALIPAY_Notify.request.fixed.txt"),
    ],
)
def test_the_documents_own_notifications_are_described(name: str, file: str) -> None:
    """As they are printed."""
    text = (EXAMPLES / file).read_text("utf-8").strip()
    fields = dict(parse_qsl(text.rpartition("?")[2]))
    assert notification_problems(name, fields) == []


def test_a_notification_without_its_order_or_its_sign_is_none() -> None:
    """The three that are always there."""
    assert len(notification_problems("WECHAT_Notify", {})) == 3
    bad = {"mch_id": "1", "out_trade_no": "A1", "sign": "0" * 32, "total_fee": "12.30"}
    assert "does not match" in notification_problems("WECHAT_Notify", bad)[0]


def test_the_schedule_is_the_documents_and_the_sandboxs() -> None:
    """Told in words here, and kept in the notifier's table."""
    assert DOCUMENT["notification"]["retry_schedule"] == ATTEMPTS
    units = {"s": 1, "m": 60, "h": 3600}
    waits = [int(each[:-1]) * units[each[-1]] if each != "0" else 0 for each in ATTEMPTS.split("/")]
    assert waits == list(SCHEDULE)
    told = notifications()["info"]["description"]
    assert ATTEMPTS in told
    assert f"within {PATIENCE:g} seconds" in told
