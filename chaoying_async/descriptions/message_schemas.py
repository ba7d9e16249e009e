"""A JSON Schema for each request, reply and notification, and for the models packed into fields."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import singledispatch
from typing import Any, get_type_hints

import attrs

from chaoying_async.descriptions.field_schemas import (
    Schema,
    described,
    inner,
    models_in,
    received,
    sent,
)
from chaoying_async.descriptions.plain_words import field_words, title_of
from chaoying_async.fieldwords import FieldWords
from chaoying_async.sansio.api.combined_rules import (
    AtLeastOne,
    AtMostOne,
    BothOrNone,
    CompletePair,
    InOrder,
    NeededWhen,
    NotAbove,
    Problems,
)
from chaoying_async.sansio.api.endpoint import Reply, Request, field_specs
from chaoying_async.sansio.api.field_rules import GoodsDetail, IdentifierRule
from chaoying_async.sansio.credentials import Credentials
from chaoying_async.sansio.meaning import RESULT_RULES, Family
from chaoying_async.sansio.model import Model, fields_of, name_of, wire_name_of
from chaoying_async.sansio.notifications.message import Notification

#: Upper-case hex: 32 digits of MD5, up to 64 where another algorithm was agreed on.
SIGN: Schema = {"type": "string", "pattern": "^[0-9A-F]{32,64}$"}
_SIGN_WORDS = FieldWords("The signature of all other fields, as this document says.", "签名")
_METHOD_WORDS = FieldWords("Which call it is: several share one address.", "接口名称")
#: The status fields of every reply, as ``Reply`` has them.
_STATUS = ("state", "code", "trade_state", "msg")


@attrs.frozen
class DescribedField:
    """One field of a message."""

    schema: Schema
    words: FieldWords
    needed: bool = False
    """Whether the message is not complete without it."""

    @property
    def whole(self) -> Schema:
        """The schema with the words in it."""
        return described(self.schema, self.words)


_SIGN_FIELD = DescribedField(SIGN, _SIGN_WORDS, needed=True)

# --------------------------------------------------------------------------------------- requests


def request_fields(request: type[Request[Any]]) -> dict[str, DescribedField]:
    """The parameters of a call: those of every call, its own, and the sign."""
    specs = field_specs(request)
    own = {
        spec.name: DescribedField(
            sent(spec.rule),
            field_words(request, spec.name),
            needed=spec.required or spec.name in (*request.needed, "pid"),
        )
        for spec in specs
    }
    common = {
        name: DescribedField(sent(IdentifierRule()), field_words(Credentials, name), needed=True)
        for name in ("agent_id", "pid", "version")
        if name not in own
    }
    method = request.endpoint.gateway_method
    which = DescribedField({"const": str(method)}, _METHOD_WORDS, needed=True)
    return {**common, **({"method": which} if method else {}), **own, "sign": _SIGN_FIELD}


def request_schema(request: type[Request[Any]]) -> Schema:
    """The form of a call."""
    return _object(title_of(request), request_fields(request)) | _together(request.checks)


def _object(title: str, fields: Mapping[str, DescribedField]) -> Schema:
    return {
        "type": "object",
        "title": title,
        "properties": {name: field.whole for name, field in fields.items()},
        "required": [name for name, field in fields.items() if field.needed],
    }


def rules_in_words(request: type[Request[Any]]) -> str:
    """The rules over several fields that a schema cannot say."""
    return " ".join(filter(None, (_in_words(check) for check in request.checks)))


def _in_words(check: object) -> str:
    match check:
        case InOrder(earlier=earlier, later=later):
            return f"{later} is after {earlier}."
        case NotAbove(part=part, whole=whole):
            return f"{part} is not above {whole}."
        case _:
            return ""


def _together(checks: Iterable[Problems]) -> Schema:
    schemas = [schema for check in checks if (schema := _schema_of(check))]
    return {"allOf": schemas} if schemas else {}


@singledispatch
def _schema_of(check: Problems) -> Schema:
    del check
    return {}


@_schema_of.register
def _(check: AtLeastOne) -> Schema:
    return _one_of_these(check.names)


@_schema_of.register
def _(check: AtMostOne) -> Schema:
    return {"not": {"required": list(check.names)}}


@_schema_of.register
def _(check: CompletePair) -> Schema:
    both = {first: second for pair in check.pairs for first, second in (pair, pair[::-1])}
    return {
        "anyOf": [{"required": list(pair)} for pair in check.pairs],
        "dependentRequired": {name: [other] for name, other in both.items()},
    }


@_schema_of.register
def _(check: BothOrNone) -> Schema:
    return {
        "dependentRequired": {check.first: [check.second], check.second: [check.first]},
    }


@_schema_of.register
def _(check: NeededWhen) -> Schema:
    return {
        "if": {
            "properties": {check.field: {"enum": list(check.values)}},
            "required": [check.field],
        },
        "then": _one_of_these(check.names),
    }


def _one_of_these(names: tuple[str, ...]) -> Schema:
    if len(names) == 1:
        return {"required": list(names)}
    return {"anyOf": [{"required": [name]} for name in names]}


# ---------------------------------------------------------------------------------------- replies


def reply_fields(request: type[Request[Any]]) -> dict[str, DescribedField]:
    """The status fields, what the call brings back, and the sign."""
    result = request.result_type
    hints = get_type_hints(Reply)  # not attrs.resolve_types(), which would change the class
    status = {
        name: DescribedField(
            received(hints[name]), field_words(Reply, name), needed=name == "state"
        )
        for name in _STATUS
    }
    own = {
        wire: DescribedField(received(kind), field_words(result, name))
        for wire, name, kind in _wire_fields(result)
    }
    return {**status, **own, "sign": DescribedField(SIGN, _SIGN_WORDS)}


def reply_schema(request: type[Request[Any]]) -> Schema:
    """A reply, whether the call was carried out or not; the gateway may add fields to it."""
    endpoint, result = request.endpoint, request.result_type
    schema = _object(f"{endpoint.title} {endpoint.name}: reply", reply_fields(request))
    needed = _always_there(result) + (["sign"] if endpoint.must_sign else [])
    if needed and endpoint.family is not Family.TERMINAL:  # one without a merchant succeeds, too
        schema |= {"if": _with_result(endpoint.family), "then": {"required": needed}}
    return schema


def _with_result(family: Family) -> Schema:
    """The status of a reply that has a result (M-07)."""
    rule = RESULT_RULES[family]
    sets: Mapping[str, frozenset[str | None] | None] = {
        "state": frozenset({"SUCCESS"}),
        "trade_state": rule.trade_state,
        "code": rule.code,
    }
    known = {name: values for name, values in sets.items() if values is not None}
    return {
        "properties": {
            name: {"enum": sorted(filter(None, values))} for name, values in known.items()
        },
        "required": [name for name, values in known.items() if None not in values],
    }


def _always_there(result: type[Model]) -> list[str]:
    return [wire_name_of(field) for field in fields_of(result) if field.default is attrs.NOTHING]


def _wire_fields(model: type[Any]) -> Iterator[tuple[str, str, Any]]:
    """For each field its name in a message, its own name, and its type."""
    attrs.resolve_types(model)
    for field in fields_of(model):
        if wire := wire_name_of(field):
            yield wire, name_of(field), field.type


# ---------------------------------------------------------------------------------- notifications


def notification_fields(kind: type[Notification]) -> dict[str, DescribedField]:
    """The fields of a notification, and the sign."""
    fields = {
        name: DescribedField(
            received(hint), field_words(kind, name), needed=name in ("mch_id", "out_trade_no")
        )
        for name, hint in notification_hints(kind).items()
    }
    return {**fields, "sign": _SIGN_FIELD}


def notification_schema(kind: type[Notification]) -> Schema:
    """A notification's form; the gateway may add fields to it, which are signed as well."""
    return _object(title_of(kind), notification_fields(kind))


def notification_hints(kind: type[Notification]) -> dict[str, Any]:
    """The fields of a notification with their types."""
    return {name: getattr(kind, name).hint for name in kind.field_names()}


# ----------------------------------------------------------------------------------- packed models


def packed_schemas(hints: Iterable[Any]) -> dict[str, Schema]:
    """The models that fields of these types hold, and those that they hold, by name."""
    found: dict[str, Schema] = {}
    waiting = [model for hint in hints for model in models_in(hint)]
    while waiting:
        model = waiting.pop()
        if model.__name__ in found:
            continue
        fields = list(_wire_fields(model))
        waiting += [each for _, _, kind in fields for each in models_in(kind)]
        found[model.__name__] = _packed_schema(model, fields)
    return dict(sorted(found.items()))


#: What the items of ``goods_detail`` hold in a request (C 73).
_GOODS: dict[str, Schema] = {
    "goods_id": {"type": "string", "pattern": "^[A-Za-z0-9_-]+$"},
    "quantity": {"type": "integer", "minimum": 1},
    "price": {"type": "integer", "minimum": 0, "maximum": 10**15 - 1},
}


def goods_schema() -> dict[str, Schema]:
    """The one model that requests hold."""
    schema = _packed_schema(GoodsDetail, _wire_fields(GoodsDetail))
    for name, kind in _GOODS.items():
        schema["properties"][name] = described(kind, field_words(GoodsDetail, name))
    return {GoodsDetail.__name__: schema}


def result_hints(request: type[Request[Any]]) -> list[Any]:
    """The types of what a call brings back."""
    return [kind for _, _, kind in _wire_fields(request.result_type)]


def _packed_schema(model: type[Model], fields: Iterable[tuple[str, str, Any]]) -> Schema:
    properties = {
        wire: described(inner(kind), field_words(model, name)) for wire, name, kind in fields
    }
    needed = _always_there(model)
    return {
        "type": "object",
        "properties": properties,
        **({"required": needed} if needed else {}),
    }
