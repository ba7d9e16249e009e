"""Chinese for the theme's own words, which neither Sphinx's catalogue nor the theme translates."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.pofile import write_po

#: As the theme's templates have them.
WORDS: Mapping[str, str] = {
    '<a href="%(path)s">Copyright</a> &#169; %(copyright)s': (
        '<a href="%(path)s">版权所有</a> &#169; %(copyright)s'
    ),
    '<a href="https://www.sphinx-doc.org/">Sphinx</a> and ': (
        '<a href="https://www.sphinx-doc.org/">Sphinx</a> 和 '
    ),
    "Back to top": "回到顶部",
    "Copyright &#169; %(copyright)s": "版权所有 &#169; %(copyright)s",
    "Edit this page": "编辑本页",
    "Home": "首页",
    "Last updated on %(last_updated)s": "最近更新：%(last_updated)s",
    "Made with ": "制作工具：",
    "Next": "下一页",
    "On this page": "本页内容",
    "Please activate JavaScript to enable the search functionality.": "搜索需要启用 JavaScript。",
    "Previous": "上一页",
    "Skip to content": "跳到正文",
    "View this page": "查看本页源文件",
}
#: What a screen reader says; the theme has these outside of its translated words.
LABELS: Mapping[str, str] = {
    "Toggle Light / Dark / Auto color theme": "切换浅色、深色或跟随系统",
    "Toggle site navigation sidebar": "打开或收起导航",
    "Toggle table of contents sidebar": "打开或收起本页内容",
}


def write_catalogue(folder: Path) -> None:
    """Write them where Sphinx looks for translations, as ``locale_dirs`` says."""
    catalogue = Catalog(locale="zh_CN")
    for english, chinese in WORDS.items():
        catalogue.add(english, chinese)
    file = folder / "zh_CN" / "LC_MESSAGES" / "sphinx.po"
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as opened:
        write_po(opened, catalogue)


def translate_labels(site: Path) -> None:
    """Put the labels of finished pages into Chinese."""
    for page in site.rglob("*.html"):
        text = page.read_text("utf-8")
        for english, chinese in LABELS.items():
            text = text.replace(f'aria-label="{english}"', f'aria-label="{chinese}"')
        page.write_text(text, "utf-8")
