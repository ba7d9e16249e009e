"""How records become JSON texts that stores and inboxes keep, and how the texts are read again.

There is one converter for all of them, so that each type is written in one way: an amount as a
number of fen, a time in ISO 8601 with its zone, a code as its value, a state of ours by its name.

A text outlives the process that wrote it. After an upgrade the next version reads it, and while an
upgrade is under way the last version reads what the next one writes. So a name that was written
once keeps its meaning, and a reader does without a name that was added later (the texts in
``tests/data/stored`` hold both to it).

Nothing personal is written (M-23, M-27): of a paid order the numbers, amounts and states that
decide, of an error its kind and its text, which is fit for a log.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from enum import Enum
from functools import cache, partial
from operator import eq
from typing import TYPE_CHECKING, Any, TypeVar

from chaoying_async import exceptions
from chaoying_async.exceptions import ChaoyingError, GatewayError, ParameterError
from chaoying_async.sansio.enums import PayType
from chaoying_async.sansio.model import fields_of, name_of
from chaoying_async.sansio.paid import PaidOrder, PaidSource, RefundedOrder

if TYPE_CHECKING:
    from cattrs.preconf.json import JsonConverter

T = TypeVar("T")
Members = Mapping[str, Any]

#: What can be wrong with a text that somebody else wrote, or that was damaged.
UNREADABLE = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
    ChaoyingError,
)


def encoded(members: Members) -> str:
    """Compact ASCII JSON."""
    return _ENCODER.encode(members)


#: Made once: ``json.dumps`` with options makes another one for every call.
_ENCODER = json.JSONEncoder(default=str, separators=(",", ":"))


def spellings(text: str) -> frozenset[str]:
    """How a text may stand inside JSON: whoever looks for it there has to look for each.

    Our texts are ASCII, of the keys some are not, and a log may have been written anew.
    """
    return frozenset(json.dumps(text, ensure_ascii=ascii_)[1:-1] for ascii_ in (True, False))


def read_record(text: str, read: Callable[[dict[str, Any]], T], what: str) -> T:
    """What ``read`` makes of the members in a text; a ``ValueError`` where it can make nothing.

    The error says only that the text is not ``what`` was asked for: the text may be anybody's.
    """
    try:
        return read(json.loads(text))
    except UNREADABLE:  # it may hold the text, so it must not be our error's context
        pass
    raise ValueError(f"not {what}")


def members_of(value: Any, *left_out: str) -> dict[str, Any]:
    """The fields of an attrs value as JSON has them, but those whose names are given."""
    members: dict[str, Any] = _writer(value.__class__, left_out)(value)
    return members


def known_members(value: Any, *left_out: str) -> dict[str, Any]:
    """The fields of an attrs value as JSON has them, but those that are None, and those named."""
    members = members_of(value, *left_out)
    return {name: member for name, member in members.items() if member is not None}


def value_in(members: Any, kind: Any, *, may_lack: tuple[str, ...] | None = None) -> Any:
    """Read a value of this type from its JSON members.

    ``may_lack`` names the fields that may be missing, and every other has to be there; None: all
    that have a default may be missing.
    """
    if may_lack is not None and not _names(kind) - {*may_lack} <= members.keys():
        raise KeyError("a member is missing")
    return _converter().get_structure_hook(kind)(members, kind)


def paid_members(order: PaidOrder) -> dict[str, Any]:
    """A paid order without what was received with it."""
    members = known_members(order, "_raw")
    return members | {"in_refund": True} if isinstance(order, RefundedOrder) else members


def paid_in(members: Members) -> PaidOrder:
    """Read a paid order from its members.

    Versions before the first with a ``source`` wrote only what a query had told.
    """
    read = _paid_reader(RefundedOrder if members.get("in_refund") else PaidOrder)
    order: PaidOrder = read({"source": PaidSource.QUERY} | dict(members), None)
    return order


def error_members(error: Exception) -> dict[str, Any]:
    """An error of ours, whose text is fit for a log; of a stranger's only what kind it was."""
    if not isinstance(error, ChaoyingError):
        return {"type": "TransportError", "text": f"the query ended with {type(error).__name__}"}
    kind = next(cls for cls in type(error).__mro__ if cls.__module__ == exceptions.__name__)
    members: dict[str, Any] = {
        "type": kind.__name__,
        "text": str(error.args[0]) if error.args else "",
        "doing": error.doing,
        "order": error.order,
    }
    for name in ("state", "code", "status"):
        if isinstance(value := getattr(error, name, None), str | int):
            members[name] = value
    if isinstance(error, ParameterError):
        members["problems"] = dict(error.problems)
    return members


def error_in(members: Members) -> ChaoyingError:
    """An error of the same kind that says the same."""
    kind = getattr(exceptions, members["type"])
    if not (isinstance(kind, type) and issubclass(kind, ChaoyingError)):
        raise TypeError("not an error of ours")
    error = kind.__new__(kind, members["text"])
    error.args = (members["text"],)
    kept = {name: members[name] for name in _KEPT_OF_ERRORS if name in members}
    if issubclass(kind, GatewayError):
        # Its text is "state FAIL, code 20007: 订单不存在", by exchange.py.
        quoted = members["text"].partition(": ")[2]
        kept = {"code": None, "msg": None, "raw": {}, "quoted": quoted} | kept
    vars(error).update(kept)
    return error


_KEPT_OF_ERRORS = ("doing", "order", "state", "code", "status", "problems")


# ----------------------------------------------------------------------------------- the converter


@cache
def _converter() -> JsonConverter:
    """Made, and cattrs imported, when the first record is written or read: not before."""
    from cattrs.preconf.json import make_converter  # noqa: PLC0415

    converter = make_converter(detailed_validation=False)
    converter.register_structure_hook(
        str, lambda value, kind: value if kind is str else kind(value)
    )
    converter.register_structure_hook(int, _whole)
    converter.register_structure_hook(float, _number)
    converter.register_structure_hook_func(partial(eq, PayType | str | None), _paytype)
    # For a StrEnum, whose values are sent or typed, the hooks of str come first.
    converter.register_unstructure_hook(Enum, lambda state: state.name)
    converter.register_structure_hook(Enum, lambda name, kind: kind[name])
    converter.register_unstructure_hook(PaidOrder, paid_members)
    converter.register_structure_hook(PaidOrder, lambda members, _: paid_in(members))
    return converter


def _whole(value: object, kind: type[int]) -> int:
    """A number that counts something, or :class:`Fen`, which looks at it itself."""
    if kind is int and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise TypeError("not a whole number")
    whole: Any = value
    return kind(whole)


def _number(value: Any, _kind: type[float]) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("not a number")
    return number


def _paytype(value: str | None, _kind: Any) -> PayType | str | None:
    return PayType.__members__.get(value or "", value)


@cache
def _writer(kind: type[Any], left_out: tuple[str, ...]) -> Callable[[Any], dict[str, Any]]:
    from cattrs.gen import make_dict_unstructure_fn, override  # noqa: PLC0415

    omitted: dict[str, Any] = dict.fromkeys(left_out, override(omit=True))
    return make_dict_unstructure_fn(kind, _converter(), **omitted)


@cache
def _paid_reader(kind: Any) -> Callable[[Any, Any], Any]:
    from cattrs.gen import make_dict_structure_fn  # noqa: PLC0415

    return make_dict_structure_fn(kind, _converter(), _cattrs_use_alias=True)


def _names(kind: type[Any]) -> frozenset[str]:
    return frozenset(name_of(field) for field in fields_of(kind))
