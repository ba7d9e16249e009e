"""Whose merchant number a request carries that names none (M-18)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from chaoying_async import GatewaySession, ParameterError
from chaoying_async.polling.order import default_of, merchant_of
from tests.factories import CREDENTIALS


def gateway(**attributes: Any) -> Any:
    """Anything with these attributes."""
    return SimpleNamespace(**attributes)


def test_a_session_tells_its_merchant_and_its_operator() -> None:
    """M-18: what it fills in where a request names none."""
    session = GatewaySession(CREDENTIALS, mch_id="1", op_user_id="2")
    assert (session.mch_id, session.op_user_id) == ("1", "2")
    assert (merchant_of(session, None), default_of(session, "op_user_id")) == ("1", "2")
    assert merchant_of(session, "3") == "3"


@pytest.mark.parametrize(
    "own",
    [
        gateway(mch_id="1"),
        gateway(defaults=gateway(mch_id="1")),
        gateway(mch_id=None, defaults=gateway(mch_id="1")),
    ],
)
def test_a_gateway_of_somebody_elses_has_a_merchant_or_wraps_a_session_that_has_one(
    own: Any,
) -> None:
    """M-18: earlier versions looked at the ``defaults`` of a session, or of what wraps one."""
    assert merchant_of(own, None) == "1"


@pytest.mark.parametrize("own", [gateway(), gateway(mch_id=None), gateway(defaults=None)])
def test_a_gateway_without_a_merchant_serves_requests_that_name_theirs(own: Any) -> None:
    """M-18: the others are refused in plain words before anything is sent."""
    assert merchant_of(own, "3") == "3"
    with pytest.raises(ParameterError, match="name it in the request or give the session a defaul"):
        merchant_of(own, None)
