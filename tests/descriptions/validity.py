"""Checks messages against the descriptions, as a program in another language would."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from chaoying_async.descriptions.asyncapi import asyncapi
from chaoying_async.descriptions.openapi import openapi, reply_name, request_name
from chaoying_async.sansio.api import REQUESTS
from chaoying_async.sansio.api.endpoint import Request

Document = Mapping[str, Any]
CALLS: Mapping[str, type[Request[Any]]] = {each.endpoint.name: each for each in REQUESTS}
POSTED = [name for name, call in CALLS.items() if call.endpoint.http_method == "POST"]
METHODS = frozenset({"get", "post"})


@cache
def calls() -> Document:
    return openapi()


@cache
def notifications() -> Document:
    return asyncapi()


def operations(document: Document) -> Iterator[tuple[str, Document]]:
    """Path and operation of every call."""
    for path, item in document["paths"].items():
        yield from ((path, what) for method, what in item.items() if method in METHODS)


def schema_of(document: Document, name: str) -> Document:
    """A schema with all that it refers to."""
    return {
        "$ref": f"#/components/schemas/{name}",
        "components": {"schemas": document["components"]["schemas"]},
    }


def parameters_of(call: str) -> dict[str, Document]:
    """A call's parameters by name, wherever they travel."""
    for _, operation in operations(calls()):
        if operation["operationId"] == call:
            if "parameters" in operation:
                return {each["name"]: each for each in operation["parameters"]}
            schema = calls()["components"]["schemas"][request_name(CALLS[call])]
            needed = schema["required"]
            return {
                name: {"name": name, "required": name in needed, "schema": what}
                for name, what in schema["properties"].items()
            }
    raise KeyError(call)


def form(call: str, fields: Mapping[str, str]) -> dict[str, Any]:
    """The fields as a schema sees a form: digits are a number where it says integer."""
    properties = calls()["components"]["schemas"][request_name(CALLS[call])]["properties"]
    return {
        name: int(text)
        if properties.get(name, {}).get("type") == "integer" and text.isdigit()
        else text
        for name, text in fields.items()
    }


def request_problems(call: str, fields: Mapping[str, str]) -> list[str]:
    """What is wrong with a posted request."""
    name = request_name(CALLS[call])
    return _messages(_of_a_call(name), form(call, fields))


def reply_problems(call: str, members: Mapping[str, Any]) -> list[str]:
    """What is wrong with a reply."""
    return _messages(_of_a_call(reply_name(CALLS[call])), members)


def notification_problems(name: str, fields: Mapping[str, str]) -> list[str]:
    """What is wrong with a notification."""
    return _messages(_of_a_notification(name), fields)


def packed_problems(document: Document, of: str, fields: Mapping[str, Any]) -> list[str]:
    """What is wrong with the JSON that travels in fields of a message of this schema."""
    found = []
    for name, schema in document["components"]["schemas"][of]["properties"].items():
        inside = schema.get("contentSchema")
        if inside is None or not fields.get(name):
            continue
        value = json.loads(fields[name])
        if isinstance(value, dict):  # wrapped once more (C 101)
            value = value[name]
        whole = {**inside, "components": document["components"]}
        found += [each.message for each in Draft202012Validator(whole).iter_errors(value)]
    return found


def _messages(validator: Draft202012Validator, members: Mapping[str, Any]) -> list[str]:
    return [each.message for each in validator.iter_errors(dict(members))]


@cache
def _of_a_call(name: str) -> Draft202012Validator:
    return Draft202012Validator(schema_of(calls(), name))


@cache
def _of_a_notification(name: str) -> Draft202012Validator:
    return Draft202012Validator(schema_of(notifications(), name))
