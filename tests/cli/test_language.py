"""The command line in Chinese: which variable decides, how a text finds its Chinese sentence."""

from __future__ import annotations

import json
import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoying_async import (
    ChaoyingError,
    MerchantError,
    MissingSignatureError,
    OutcomeUnknownError,
)
from chaoying_async.cli import main, output
from chaoying_async.cli.language import chinese, help_pages, shown
from chaoying_async.cli.language.lookup import Sentences
from chaoying_async.environment import languages_from_env
from tests.factories import answer_fields, body_of, every_request
from tests.fake_gateway import FakeGateway, session

VARIABLES = ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")


def speak(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name in (*VARIABLES, *(name for name in os.environ if name.startswith("CHAOYING_"))):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("variables", "languages"),
    [
        ({}, []),
        ({"LANG": "zh_CN.UTF-8"}, ["zh_CN.UTF-8"]),
        ({"LANG": "zh_CN", "LC_MESSAGES": "en_US"}, ["en_US"]),
        ({"LANG": "en_US", "LC_MESSAGES": "en_US", "LC_ALL": "zh_CN"}, ["zh_CN"]),
        ({"LANG": "en_US", "LANGUAGE": "zh_CN:en"}, ["zh_CN", "en", "en_US"]),
        ({"LANG": "zh_CN", "LC_ALL": "C.UTF-8", "LANGUAGE": "zh_CN"}, []),
        ({"LANG": "", "LC_ALL": "POSIX"}, []),
    ],
)
def test_the_environment_names_languages_as_it_does_for_gettext(
    variables: dict[str, str], languages: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """LC_ALL before LC_MESSAGES before LANG, and LANGUAGE before them unless they say C."""
    speak(monkeypatch, **variables)
    assert languages_from_env() == languages


@pytest.mark.parametrize("lang", ["zh_CN", "zh_CN.UTF-8", "zh-Hans", "zh"])
def test_help_is_chinese_for_who_reads_chinese(
    lang: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever form the tag has; and no line is wider than a terminal."""
    speak(monkeypatch, LANG=lang)
    assert main(["watch", "--help"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("用法：chaoying watch")
    assert "把一批订单（或退款）跟踪到确定的结果" in told
    assert all(help_pages.columns(line) <= 80 for line in told.splitlines())


@pytest.mark.parametrize("lang", ["en_US.UTF-8", "C.UTF-8", "de_DE.UTF-8", ""])
def test_help_is_english_for_everybody_else(
    lang: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Languages that we do not have, C, and none at all."""
    speak(monkeypatch, LANG=lang)
    assert main(["--help"]) == 0
    assert capsys.readouterr().out.startswith("Usage: chaoying")


def test_usage_errors_of_click_are_chinese_and_json_is_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Programs read JSON, and their authors search for its English messages."""
    speak(monkeypatch, LANG="zh_CN")
    assert main(["watch", "--hlep"]) == 2
    told = capsys.readouterr().err
    assert "错误：没有选项 '--hlep'。" in told
    assert "用 `chaoying watch --help` 查看帮助。" in told
    assert main(["watch", "--hlep", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["message"].startswith("No such option")


def test_errors_of_the_library_are_chinese_and_their_json_is_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each field's rule, and what to do next; statuses, names and values stay as they are."""
    speak(monkeypatch, LANG="zh_CN")
    for name, value in {"AGENT_ID": "1", "KEY": "k" * 32, "PID": "p", "MCH_ID": "closed"}.items():
        monkeypatch.setenv(f"CHAOYING_{name}", value)
    wrong = ["send", "cancel", "--paytype", "WECHAT", "x=closed"]
    assert main(wrong) == 2
    told = capsys.readouterr().err
    assert "x: 不是 cancel 的字段；文档之外的字段用 --extra x=……；" in told
    assert "CHAOYING_OP_USER_ID: 没有设置" in told
    assert "  什么都没发出：请改正这些字段" in told
    assert main([*wrong, "--json"]) == 2
    record = json.loads(capsys.readouterr().out)
    assert record["next"] == "nothing was sent: put the fields right"
    assert "CHAOYING_OP_USER_ID: is not set" in record["message"]


def test_a_text_finds_the_sentence_it_was_made_of() -> None:
    """With values in it, with a sentence as a value, and joined of several; else it stays."""
    told = Sentences(
        {
            "nothing was sent": "什么都没有发出",
            "must be at least {} fen": "至少 {} 分",
            "{} of {} orders": "共 {1} 笔，显示 {0} 笔",
            "it was {}": "原因：{}",
        }
    ).told
    assert told("must be at least 5 fen") == "至少 5 分"
    assert told("3 of 9 orders") == "共 9 笔，显示 3 笔"
    assert told("it was nothing was sent") == "原因：什么都没有发出"
    assert told("pay A1: total_fee: must be at least 1 fen; nothing was sent") == (
        "pay A1: total_fee: 至少 1 分；什么都没有发出"
    )
    assert told("a b: it was c; d e; it was f; nothing was sent") == (
        "a b: 原因：c；d e；原因：f；什么都没有发出"
    )
    assert told("余额不足: 请换卡; x") == "余额不足: 请换卡; x"
    assert told("a: " * 100 + "b") == "a: " * 100 + "b"


def test_what_somebody_else_says_stays_as_it_is() -> None:
    """It may be our own sentence word for word, hold our joints, or be a part of one of ours."""
    table = {
        "nothing was sent": "什么都没有发出",
        "state {}, code {}: {}{}": "state {}，code {}：{}{}",
        "refused ({}), which proves nothing": "被拒绝（{}），但这不能证明什么",
        "query it again": "请再查询",
    }
    told = Sentences(table).told
    for said in ("nothing was sent", "no; nothing was sent; a: query it again", "query \ue000 it"):
        error = f"pay A1: refused (state FAIL, code 2: {said}), which proves nothing"
        assert told(f"{error}; query it again", said) == (
            f"pay A1: 被拒绝（state FAIL，code 2：{said}），但这不能证明什么；请再查询"
        )
    assert told("nothing was sent", "余额不足") == "什么都没有发出"
    assert told("nothing was sent: x", "sent: x") == "nothing was sent: x"


#: Sentences of ours, each with a Chinese one.
SAID = "nothing was sent; the refund failed"


@pytest.mark.parametrize(
    ("name", "code", "signed", "kind"),
    [
        ("orderquery", "20005", True, MerchantError),
        ("orderquery", "20005", False, MissingSignatureError),
        ("pay", "20004", True, OutcomeUnknownError),
    ],
)
async def test_a_refusal_is_shown_in_the_gateways_own_words(
    name: str,
    code: str,
    kind: type[ChaoyingError],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    signed: bool,
) -> None:
    """Whatever they are; what we say about them is Chinese."""
    fields = answer_fields(name, state="FAIL", code=code, msg=SAID, trade_state=None)
    gateway = FakeGateway(body_of(fields, signed=signed))
    async with session(gateway, read_retries=0, require_signed=True) as till:
        with pytest.raises(kind) as caught:
            await till.send(every_request()[name])
    speak(monkeypatch, LANG="zh_CN")
    output.failed(caught.value)
    told = capsys.readouterr().err
    assert SAID in told
    assert re.search("[一-鿿]", told.partition(SAID)[0] + told.partition(SAID)[2])


def test_a_value_of_one_word_is_never_translated() -> None:
    """It may be an order number: whoever chose ``closed`` for one must find it again."""
    table = {"closed": "已关闭", "order {} is over": "订单 {} 已结束", "line {}": "第 {} 行"}
    told = Sentences(table).told
    assert told("line 3: order 1 is over") == "第 3 行: 订单 1 已结束"
    assert told("line is busy") == "line is busy"
    assert told("closed") == "已关闭"
    assert told("order closed is over") == "订单 closed 已结束"
    assert told("closed: order 1 is over") == "closed: 订单 1 已结束"


@given(
    st.lists(st.sampled_from(["", "of", "a", "ab", ":", "中"]), min_size=2, max_size=4),
    st.lists(st.text("abof:中", max_size=5), min_size=3, max_size=3),
)
def test_values_come_back_where_they_went_in(parts: list[str], values: list[str]) -> None:
    """As a regular expression with the same holes finds them, and in linear time."""
    parts[0] = "it is " + parts[0]
    text = "".join(part + value for part, value in zip(parts, values, strict=False)) + parts[-1]
    english = "{}".join(parts)
    found = re.fullmatch("(.*?)".join(map(re.escape, parts)), text, re.DOTALL)
    told = Sentences({english: "=" + "|".join("{}" for _ in parts[1:])}).told(text)
    if found is not None and text != english:
        assert told == "=" + "|".join(found.groups())


def test_chinese_sentences_take_the_values_of_the_english_ones() -> None:
    """None is lost, and none is named that the English sentence does not have."""
    for english, told in chinese().table.items():
        holes = re.findall(r"\{(\d*)\}", told)
        known = english.count("{}")
        if any(holes):
            assert all(int(number) < known for number in holes), english
        else:
            assert len(holes) == known, english


def test_a_text_that_nests_one_sentence_in_the_other_is_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In whatever language, hundreds deep: no error may come from showing one."""
    speak(monkeypatch, LANG="zh_CN")
    for times in (3, 380):
        assert "x y" in shown("the class " * times + "x y")
    monkeypatch.setattr(Sentences, "told", too_deep)
    assert shown("nothing waits") == "nothing waits"


def too_deep(_self: Sentences, _text: str, _quoted: str) -> str:
    raise RecursionError
