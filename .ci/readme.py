"""Run the Python of the READMEs and docs/, as a reader would who pastes it into a file.

    python .ci/readme.py run                       every block, and that both languages agree
    python .ci/readme.py run --first               the first block of README.md only
    python .ci/readme.py run --python PYTHON       with another interpreter (a clean environment's)

A block runs in an interpreter of its own, in an empty directory, with no CHAOYING_ variable set and
warnings as errors, so it has to bring all it needs: ``chaoying_async.sandbox.Sandbox`` is the
gateway to talk to.
``<!-- no-run -->`` on the line before a block leaves it out (a fragment, a real key, a real host).

Both files must hold the same blocks in the same order; comments may be in the file's own language.
A block that has the same code as one before it is the same program, and does not run again.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import subprocess
import sys
import tempfile
import time
import tokenize
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
PAGES = ("README.md", *sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("docs/*[a-z].md")))
ENGLISH = tuple(page for page in PAGES if not page.endswith(".zh-CN.md"))
PAIRS = tuple((page, page.removesuffix(".md") + ".zh-CN.md") for page in ENGLISH)
SECONDS = 300  # for what hangs: the machine may be slow and busy
NO_RUN = "<!-- no-run -->"

_FENCE = re.compile(
    r"^(?P<fence>`{3,})(?P<language>[\w+-]*)[^\n]*\n(?P<code>.*?)^(?P=fence)[ \t]*$",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    """One fenced block of a README."""

    where: str
    language: str
    code: str
    runs: bool


def blocks(name: str) -> list[Block]:
    """Every fenced block of one file, in order."""
    text = (ROOT / name).read_text("utf-8")
    found = []
    for match in _FENCE.finditer(text):
        before = text[: match.start()]
        marked = before.rstrip().rsplit("\n", 1)[-1].strip() == NO_RUN
        language = match["language"]
        found.append(
            Block(
                where=f"{name}:{before.count(chr(10)) + 1}",
                language=language,
                code=match["code"],
                runs=language == "python" and not marked,
            )
        )
    return found


def bare(block: Block) -> list[str]:
    """The block without its comments and empty lines: what two languages have in common."""
    if not block.language:  # a drawing: the first word of each line, where it stands
        return [re.sub(r"(?<=\S)\s.*", "", line) for line in block.code.splitlines()]
    if block.language != "python":
        lines = (re.sub(r"(^|\s)#.*", "", line) for line in block.code.splitlines())
        return [line.rstrip() for line in lines if line.strip()]
    skipped = {tokenize.COMMENT, tokenize.NL}
    tokens = tokenize.generate_tokens(io.StringIO(block.code).readline)
    return [token.string for token in tokens if token.type not in skipped]


def differences() -> list[str]:
    """Where the blocks of two languages differ, in words; empty when they agree."""
    found = []
    for pair in PAIRS:
        one, other = (blocks(name) for name in pair)
        found += [
            f"{a.where} and {b.where} differ"
            for a, b in zip(one, other, strict=False)
            if (a.language, a.runs, bare(a)) != (b.language, b.runs, bare(b))
        ]
        if len(one) != len(other):
            found.append(f"{pair[0]} has {len(one)} blocks, {pair[1]} has {len(other)}")
    return found


def run(block: Block, python: str) -> bool:
    """Run one block where nothing of this tree can be seen by accident; True if it ended well."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CHAOYING_", "PYTHONPATH", "COVERAGE_"))
    }
    environment["PYTHONUTF8"] = "1"  # what the examples print is partly Chinese
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as empty:
        script = Path(empty) / "example.py"
        script.write_text(block.code, "utf-8")
        try:
            done = subprocess.run(
                [python, "-W", "error", script.name],
                cwd=empty,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as late:
            print(f"FAILED  {block.where}: still running after {SECONDS} s\n{late.output or ''}")
            return False
    word = "ok" if done.returncode == 0 else "FAILED"
    print(f"{word:7} {block.where} ({time.monotonic() - began:.1f} s)")
    print("".join(f"        {line}\n" for line in done.stdout.splitlines()), end="", flush=True)
    return done.returncode == 0


def main() -> int:
    """Do what the command line says; the exit status is 0 when all is well."""
    parser = argparse.ArgumentParser(description="Run the code of the READMEs.")
    parser.add_argument("command", choices=["run"])
    parser.add_argument("--first", action="store_true", help="the first block of README.md only")
    parser.add_argument("--python", default=sys.executable, help="the interpreter to run them with")
    options = parser.parse_args()
    python = str(Path(options.python).absolute())  # not resolved: an environment's python is a link

    names = [name for pair in PAIRS for name in pair]
    chosen = [block for name in names for block in blocks(name) if block.runs]
    if options.first:
        chosen = chosen[:1]
    if not chosen:
        print("FAILED  the READMEs hold no Python that could be run")
        return 1
    # Of several that have the same code the first one is run.
    programs = {tuple(bare(block)): block for block in reversed(chosen)}
    failed = [block.where for block in reversed(programs.values()) if not run(block, python)]
    print(f"{len(chosen)} blocks, {len(programs)} programs, {len(failed)} of them failed")
    wrong = [] if options.first else differences()
    for words in wrong:
        print(f"FAILED  {words}")
    return 1 if failed or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
