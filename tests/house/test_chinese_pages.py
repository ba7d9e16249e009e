"""The Chinese pages have one address, Chinese quotes, and the words that people search for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.zh-CN.md", "SECURITY.zh-CN.md", "examples/README.zh-CN.md")),
    *sorted((ROOT / "docs").glob("*.zh-CN.md")),
]
HAN = r"[\u4e00-\u9fff]"

#: What must not stand there, and what is written instead.
INSTEAD = {
    "您": "你",
    "动钱": "资金类请求",
    "跟到底": "跟踪到确定的结果",
    "结局": "结果",
    "死掉": "崩溃",
    "优惠详情": "营销详情",
    "退款列表": "退款单集合",
    f'"(?={HAN})|(?<={HAN})"': "“”",
    f"(?<={HAN}),(?={HAN})": "，",
}
#: Said by the gateway's document in these letters.
QUOTED = (
    "如果出现退款不成功,请变更退款单号重新发起",
    "只有在能确定退款失败的情况下,才能重新发起另一笔退款",
)
#: What people search for; each must be found on some page.
SEARCHED = ("幂等", "对账", "掉单", "异步通知", "商户订单号", "沙箱环境，不涉及真实资金")


def text_of(page: Path) -> str:
    """What is read as prose: no code, and nothing that is quoted from the document."""
    text = re.sub(r"```.*?```|`[^`]*`", "", page.read_text("utf-8"), flags=re.DOTALL)
    for quoted in QUOTED:
        text = text.replace(quoted, "")
    return text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_uses_the_agreed_words(page: Path) -> None:
    """One address, one name for each thing, Chinese punctuation."""
    lines = text_of(page).splitlines()
    odd = [
        f"{line.strip()[:60]} -> {better}"
        for line in lines
        for word, better in INSTEAD.items()
        if re.search(word, line)
    ]
    assert odd == []


@pytest.mark.parametrize("word", SEARCHED)
def test_what_people_search_for_is_found(word: str) -> None:
    """In the words of those who have run a shop."""
    assert any(word in text_of(page) for page in PAGES)
