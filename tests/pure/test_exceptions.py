from __future__ import annotations

import copy
import inspect
import pickle
import re
from collections.abc import Iterator
from typing import Any

import pytest

from chaoying_async import OrderQuery, Pay, exceptions
from chaoying_async.exceptions import (
    GATEWAY_ERRORS,
    ChaoyingError,
    ChaoyingWarning,
    GatewayError,
    GatewayUnavailableError,
    OutcomeUnknownError,
    ParameterError,
    PollTimeoutError,
    VersionTooLowError,
    _TradeError,
)
from chaoying_async.sansio.enums import Code
from chaoying_async.sansio.fieldnames import SECRET
from tests.pure.factories import CREDENTIALS, KEY, QUERY, paid, read, reply_body
from tests.pure.rulebook import ERROR_TREE, REFUSALS
from tests.pure.spec import full_request
from tests.table import table


def _edges(drawn: str) -> Iterator[tuple[str, str]]:
    """(error, the one it is a kind of) for a tree drawn with two blanks a level."""
    above: dict[int, str] = {}
    for line in drawn.splitlines():
        for name in re.findall(r"\b[A-Z]\w+Error\b", line.partition("   ")[0] or line):
            level = len(line) - len(line.lstrip())
            above[level] = name
            parents = [known for known in above if known < level]
            if parents:
                yield name, above[max(parents)]


def _public() -> dict[str, type[ChaoyingError]]:
    return {
        name: value
        for name, value in vars(exceptions).items()
        if inspect.isclass(value) and issubclass(value, ChaoyingError) and not name.startswith("_")
    }


def _parent(error: type[BaseException]) -> str:
    """The next public class above."""
    return next(base.__name__ for base in error.__mro__[1:] if not base.__name__.startswith("_"))


def test_the_tree_is_the_one_of_the_design() -> None:
    """Same names, same parents, nothing more and nothing less."""
    wanted = dict(_edges(ERROR_TREE)) | {"ChaoyingError": "Exception"}
    assert {name: _parent(error) for name, error in _public().items()} == wanted


def test_the_tree_is_the_one_drawn_at_the_top_of_the_file() -> None:
    """A drawing that lies is worse than none."""
    assert exceptions.__doc__ is not None
    drawing = exceptions.__doc__.partition("::\n")[2].partition("\n\nEvery error")[0]
    edges: dict[str, str] = {}
    above: dict[int, str] = {}
    for line in drawing.splitlines():
        level = len(line) - len(line.lstrip())
        for name in re.findall(r"\b[A-Z]\w+Error\b", line):
            above = {known: each for known, each in above.items() if known < level}
            edges[name] = above[max(above)] if above else "Exception"
        if found := re.findall(r"\b[A-Z]\w+Error\b", line):
            above[level] = found[0]
    assert edges == {name: _parent(error) for name, error in _public().items()}


def test_every_error_says_what_to_do_in_its_docstring() -> None:
    """The first thing that a caller looks up."""
    assert [name for name, error in _public().items() if not error.__dict__.get("__doc__")] == []


def test_every_code_of_the_document_has_its_error() -> None:
    """Specific where design.md names one, GatewayError for the others (C 19, C 37)."""
    assert set(GATEWAY_ERRORS) == set(Code)
    named = {
        code: error.__name__ for code, error in GATEWAY_ERRORS.items() if error is not GatewayError
    }
    assert named == REFUSALS
    named_classes = {error.__name__ for error in GatewayError.__subclasses__()}
    assert named_classes == {*REFUSALS.values(), VersionTooLowError.__name__}


def test_a_parameter_error_is_a_value_error() -> None:
    """Whoever catches ValueError around a form gets it; a warning is a UserWarning."""
    assert issubclass(ParameterError, ValueError)
    assert issubclass(ChaoyingWarning, UserWarning)


CANARY = "canary4711"


def _examples() -> dict[str, ChaoyingError]:
    """One of every error, all that it can carry filled in."""
    reply = read(QUERY, reply_body(paid(trade_state="NEED_QUERY", openid=CANARY)))
    raw = {"openid": CANARY, "out_trade_no": "A1"}
    refusal = GatewayError("state FAIL", state="FAIL", code="20004", msg="no", raw=raw)
    made: dict[str, ChaoyingError] = {}
    for name, error in _public().items():
        if issubclass(error, ParameterError):
            made[name] = error({"auth_code": "is required", "body": "is required"})
        elif issubclass(error, GatewayError):
            made[name] = error("state FAIL", state="FAIL", code="20002", msg="no", raw=raw)
        elif issubclass(error, OutcomeUnknownError):
            made[name] = error("may have been carried out", refusal=refusal)
        elif issubclass(error, GatewayUnavailableError):
            made[name] = error("HTTP status 502", status=502)
        elif issubclass(error, PollTimeoutError):
            made[name] = error("still undecided", last=reply)
        elif issubclass(error, _TradeError):
            made[name] = error("not known yet", reply=reply)
        else:
            made[name] = error("what happened")
        made[name].about("orderquery", "A100011")
    return made


EXAMPLES = _examples()
every_error = table("name", EXAMPLES)


@every_error
def test_an_error_survives_pickling_and_copying_without_what_is_personal(name: str) -> None:
    """Through a task queue: class, text, code and order; never raw fields (M-27)."""
    error = EXAMPLES[name]
    data = pickle.dumps(error)
    assert CANARY.encode() not in data
    backs: list[Any] = [pickle.loads(data), copy.copy(error), copy.deepcopy(error)]  # noqa: S301 - our own bytes
    for back in backs:
        assert type(back) is type(error)
        assert str(back) == str(error)
        assert back.args == error.args
        assert (back.doing, back.order) == ("orderquery", "A100011")
        for kept in ("problems", "status", "state", "code", "msg"):
            assert getattr(back, kept, None) == getattr(error, kept, None)
        assert CANARY not in repr(vars(back))


@every_error
def test_an_error_shows_what_was_being_done_and_nothing_personal(name: str) -> None:
    """Call and order first; no raw field in text or repr (M-27)."""
    error = EXAMPLES[name]
    assert str(error).startswith("orderquery A100011: ")
    for shown in (str(error), repr(error)):
        assert CANARY not in shown
        assert KEY not in shown


def test_what_is_nearer_to_the_cause_is_not_overwritten() -> None:
    """`about` adds on the way out and never replaces."""
    error = ChaoyingError("x").about("pay", "A1").about("session", "B2")
    assert str(error) == "pay A1: x"
    assert str(ChaoyingError("x")) == "x"
    assert str(ChaoyingError("x").about("pay")) == "pay: x"


def test_a_parameter_error_holds_rules_and_no_values() -> None:
    """`problems` maps every bad field to the rule (M-27)."""
    with pytest.raises(ParameterError) as caught:
        full_request(Pay, auth_code="&sign=" + CANARY, total_fee=-4711, body=b"4711")
    assert set(caught.value.problems) == {"auth_code", "total_fee", "body"}
    assert "4711" not in f"{caught.value!r}{caught.value}{caught.value.problems}"


@table("name", sorted(SECRET & set(full_request(Pay).wire_fields())))
def test_a_gateways_message_does_not_repeat_what_is_personal(name: str) -> None:
    """A refusal that quotes the payment code reaches no log (M-27)."""
    code = "130000000000004711"
    pay = full_request(Pay, **{name: code})
    members = {"state": "FAIL", "code": "20005", "msg": f"付款码 {code} 无效"}
    with pytest.raises(GatewayError) as caught:
        read(pay, reply_body(members))
    assert code not in f"{caught.value!r}{caught.value}{caught.value.msg}"
    assert "***" in str(caught.value)


@table("name", sorted(SECRET))
def test_a_gateways_message_shows_nobody_whom_the_request_did_not_name(name: str) -> None:
    """A refused query that says whose payment it was: a query names no buyer (M-27)."""
    members = {"state": "FAIL", "code": "20004", "msg": f"参数错误 {name}=oHmbktxFlpoEPo 不匹配"}
    with pytest.raises(GatewayError) as caught:
        read(full_request(OrderQuery), reply_body(members))
    assert "oHmb" not in f"{caught.value!r}{caught.value}{caught.value.msg}"
    assert f"参数错误 {name}=***" in str(caught.value)


def test_no_error_of_a_whole_exchange_shows_the_key() -> None:
    """Signed or not, readable or not (M-27)."""
    bodies = [
        b"",
        b"{}",
        reply_body(paid(), "another key"),
        reply_body(paid(out_trade_no="other")),
        reply_body({"state": "FAIL", "code": "20002", "msg": KEY[:4]}),
    ]
    for body in bodies:
        with pytest.raises(ChaoyingError) as caught:
            read(QUERY, body, CREDENTIALS)
        assert KEY not in f"{caught.value!r}{caught.value}"


def test_the_cause_is_kept() -> None:
    """OutcomeUnknownError says what really came (M-10)."""
    with pytest.raises(OutcomeUnknownError) as caught:
        read(full_request(Pay), b"<html>")
    assert isinstance(caught.value.__cause__, exceptions.MalformedMessageError)
    assert caught.value.refusal is None
