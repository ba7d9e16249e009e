"""JSON inside a value is written again in the styles of common libraries, and nothing else is."""

from __future__ import annotations

from chaoying_async.sansio.doctor.json_styles import (
    ESCAPES_KEPT,
    LITERALS,
    REWRITINGS,
    escapes,
    slashes,
    sorted_names,
    spaces,
)
from tests.table import table

CHANGES = (*REWRITINGS, *LITERALS, escapes, slashes, sorted_names, spaces)
COMPACT = '{"b":"茶/","a":[1,{"c":2}]}'


def test_one_thing_about_the_style_is_turned_round() -> None:
    """All others stay as they were received, and twice is as before; names are sorted for good."""
    spaced = '{"b": "茶/", "a": [1, {"c": 2}]}'
    assert spaces(COMPACT) == spaced
    assert spaces(spaced) == COMPACT
    escaped = '{"b":"\\u8336/","a":[1,{"c":2}]}'
    assert escapes(COMPACT) == escaped
    assert escapes(escaped) == COMPACT
    slashed = '{"b":"茶\\/","a":[1,{"c":2}]}'
    assert slashes(COMPACT) == slashed
    assert slashes(slashed) == COMPACT
    assert sorted_names(COMPACT) == '{"a":[1,{"c":2}],"b":"茶/"}'


def test_the_other_three_stay_as_they_were_received() -> None:
    """Whichever is turned round."""
    received = '{"b": "\\u8336\\/", "a": 1}'
    assert sorted_names(received) == '{"a": 1, "b": "\\u8336\\/"}'
    assert spaces(received) == '{"b":"\\u8336\\/","a":1}'
    assert escapes(received) == '{"b": "茶\\/", "a": 1}'
    assert slashes(received) == '{"b": "\\u8336/", "a": 1}'


@table(
    ("received", "wanted"),
    [
        ('["a", "b"]', '["a","b"]'),  # spaces after commas alone
        ('{"a": 1}', '{"a":1}'),  # after colons alone
        ('["a","b"]', '["a", "b"]'),
        ('{"a":1}', '{"a": 1}'),
    ],
)
def test_spaces_after_commas_or_colons_are_seen(received: str, wanted: str) -> None:
    """One place is enough to tell the style by."""
    assert spaces(received) == wanted


def test_every_style_of_the_four_is_tried() -> None:
    """Sixteen of them, two with indents, and one in which every number is a double."""
    assert len(REWRITINGS) == 19
    deep = '{\n    "b": "茶/",\n    "a": [\n        1,\n        {\n'
    deep += '            "c": 2\n        }\n    ]\n}'
    assert {change(COMPACT) for change in REWRITINGS} == {
        *('{"b":"茶/","a":[1,{"c":2}]}', '{"a":[1,{"c":2}],"b":"茶/"}'),
        *('{"b":"茶\\/","a":[1,{"c":2}]}', '{"a":[1,{"c":2}],"b":"茶\\/"}'),
        *('{"b":"\\u8336/","a":[1,{"c":2}]}', '{"a":[1,{"c":2}],"b":"\\u8336/"}'),
        *('{"b":"\\u8336\\/","a":[1,{"c":2}]}', '{"a":[1,{"c":2}],"b":"\\u8336\\/"}'),
        *('{"b": "茶/", "a": [1, {"c": 2}]}', '{"a": [1, {"c": 2}], "b": "茶/"}'),
        *('{"b": "茶\\/", "a": [1, {"c": 2}]}', '{"a": [1, {"c": 2}], "b": "茶\\/"}'),
        *('{"b": "\\u8336/", "a": [1, {"c": 2}]}', '{"a": [1, {"c": 2}], "b": "\\u8336/"}'),
        *('{"b": "\\u8336\\/", "a": [1, {"c": 2}]}', '{"a": [1, {"c": 2}], "b": "\\u8336\\/"}'),
        '{\n  "b": "茶/",\n  "a": [\n    1,\n    {\n      "c": 2\n    }\n  ]\n}',
        deep,
        '{"b":"茶/","a":[1.0,{"c":2.0}]}',
    }


def test_what_becomes_of_an_object_without_a_json_writer() -> None:
    """Python's, JavaScript's and PHP's words for it, and nothing at all."""
    received = '{"a":[1,true]}'
    said = ["{'a': [1, True]}", "[object Object]", "Array", ""]
    assert [change(received) for change in LITERALS] == said


@table("text", ["", "tea", "12", '"a"', "null", "{", '{"a":', "[1,]", ' {"a":1}', "]"])
@table("change", CHANGES, ids=lambda change: change.__qualname__)
def test_a_text_that_is_no_json_stays_as_it_is(text: str, change: object) -> None:
    """Numbers, words and quoted texts too: only an object or a list has a style."""
    assert change(text) == text  # type: ignore[operator]


def test_an_empty_object_is_json_too() -> None:
    """An empty list as well."""
    assert [LITERALS[1](text) for text in ("{}", "[]")] == ["[object Object]"] * 2


def test_json_nested_too_deep_for_its_writers_stays_as_it_is() -> None:
    """200 levels are written again; one more is not, of lists, of objects, and of both together."""
    for begins, ends in (("[", "]"), ('{"a":', "}")):
        deep = begins * 199 + '["a","b"]' + ends * 199
        assert spaces(deep) != deep
        deeper = begins + deep + ends
        assert spaces(deeper) == deeper
    mixed = '{"a":[' * 100 + '["a","b"]' + "]}" * 100
    assert spaces(mixed) == mixed
    endless = "[" * 100_000
    assert spaces(endless) == endless


def test_a_value_as_it_stands_between_the_quotes_of_a_json_source() -> None:
    """As it is, with slashes, ASCII only, both, and with escapes in capitals."""
    said = [change('茶é/"') for change in ESCAPES_KEPT]
    assert said == [
        '茶é/\\"',
        '茶é\\/\\"',
        '\\u8336\\u00e9/\\"',
        '\\u8336\\u00e9\\/\\"',
        '\\u8336\\u00E9/\\"',
    ]
