"""``python -m _site FOLDER``: the site in both languages; the exit status is 0 when all is well."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from _site.broken import broken
from _site.chinese_words import translate_labels, write_catalogue
from _site.pages import LANGUAGES, ROOT, stage
from _site.reference import reference
from _site.sources import write

_HERE = Path(__file__).parent
_FIRST = """\
<!doctype html>
<meta charset="utf-8">
<title>chaoying_async</title>
<meta http-equiv="refresh" content="1; url=en/index.html">
<script>
location.replace((/^zh/.test(navigator.language) ? "zh-CN" : "en") + "/index.html");
</script>
<p><a href="en/index.html">English</a> · <a href="zh-CN/index.html">简体中文</a></p>
"""


def work_of(language: str, site: Path) -> Path:
    """What is made on the way to one language."""
    return site.parent / f"{site.name}-work" / language


def build(language: str, site: Path) -> subprocess.Popen[bytes]:
    """Begin with one language: every warning of Sphinx is an error."""
    work = work_of(language, site)
    stage(language, work / "pages", reference(language))
    write_catalogue(work / "locale")
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "sphinx", "--builder", "html", "--quiet"),
            *("--nitpicky", "--fail-on-warning", "--conf-dir", _HERE),
            *("--define", f"language={language.replace('-', '_')}"),
            *("--doctree-dir", work / "trees", work / "pages", site / language),
        ],
        cwd=ROOT,
    )


def main() -> int:
    """Both languages at once, then one look at all their links."""
    site = Path(sys.argv[1]).absolute()
    for language in LANGUAGES:  # from the beginning: what was read before would not warn again
        shutil.rmtree(site / language, ignore_errors=True)
        shutil.rmtree(work_of(language, site), ignore_errors=True)
    site.mkdir(parents=True, exist_ok=True)
    builds = [build(language, site) for language in LANGUAGES]
    write(site, work_of("en", site) / "pages")
    ended = [each.wait() for each in builds]  # both, also where the first one has failed
    if any(ended):
        return 1
    translate_labels(site / "zh-CN")
    (site / "index.html").write_text(_FIRST, "utf-8")
    wrong = broken(site)
    for words in wrong:
        print(words)
    pages = len(list(site.rglob("*.html")))
    print(f"{pages} pages in {site}, {len(wrong)} broken links: open {site / 'index.html'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
