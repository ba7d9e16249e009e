"""Whatever breaks while a command says what it did: what it did decides how it ends.

Real processes, real pipes, real signals, against a served sandbox. Each call is a process, so each
way to break, each shape of what is said and each signal is met once; ``FULL=1`` crosses them. What
Python itself makes of streams and encodings when it starts is met by programs that start.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import count, product
from pathlib import Path
from typing import Any

import pytest

from chaoying_async.cli import reply_display
from chaoying_async.cli.exits import Exit
from tests.cli.processes import Process, begun
from tests.cli.test_inbox import ShopOnDisk, listed, told
from tests.cli_calls import NO_MORE, PROGRAM, ROOT, Running, environment, in_thread
from tests.sizes import FULL, cases, sampled

CODE = "130000000000001111"
_NUMBERS = count(1)
NOT_WINDOWS = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="pipes and signals of POSIX")
pytestmark = NOT_WINDOWS


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with in_thread() as made:
        yield made


@pytest.fixture(scope="module")
def slow() -> Iterator[Running]:
    """A sandbox that carries out what moves money at once, and answers a minute later."""
    with in_thread("pay/slow:1:60", "refund/slow:1:60") as made:
        yield made


def number() -> str:
    return f"A7{next(_NUMBERS):06d}"


def pay(order: str, *more: str, total: str = "1230") -> tuple[str, ...]:
    fields = (f"out_trade_no={order}", "body=tea", f"total_fee={total}", f"auth_code={CODE}")
    return ("send", "pay", *fields, *more)


class Ran:
    """A command that has ended, and what came out of its stdout and stderr, where it was read."""

    def __init__(self, code: int, out: bytes = b"", err: bytes = b"") -> None:
        self.code, self.out, self.err = code, out.decode(), err.decode()
        assert "Traceback" not in self.err
        assert "Exception ignored" not in self.err


#: What the shell does to a command's streams.
BROKEN = {"stdout closed": ">&-", "stdin and stdout closed": "<&- >&-"}
#: The two ways in which a write fails, and those that fail as one of them.
HOWS = ["| true", "disk full", *cases([], more=["stdout closed", "stdin and stdout closed"])]
SHAPES = ["person", "program"]


def crossed(both: Iterable[tuple[Any, str]]) -> list[tuple[Any, str]]:
    """Each of one column with one of the other; with ``FULL=1`` with each."""
    return [*sampled(both, every=3)]


#: Environments whose encoding has no Chinese.
POOR: dict[str, dict[str, str | None]] = {
    "cp437": {"PYTHONIOENCODING": "cp437:strict", "PYTHONUTF8": "0"},
    "LANG=C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}
if FULL:
    POOR["ascii"] = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    POOR["latin-1"] = {"PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}
MUTE = {"both closed": "<&- >&- 2>&-", "both on a full disk": ">/dev/full 2>/dev/full"}


def ran(
    running: Running,
    arguments: Sequence[str],
    how: str = "",
    *,
    before: str = "",
    env: dict[str, str | None] | None = None,
) -> Ran:
    """Run a command to its end, with its streams redirected by a shell."""
    done = subprocess.run(
        ["sh", "-c", f'{before} "$@" {how}', "sh", *PROGRAM, *arguments],
        cwd=ROOT,
        env=environment({**running.env, **(env or {})}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def ran_into_nobody(
    running: Running, arguments: Sequence[str], how: str = "| true", *, both: bool = False
) -> Ran:
    """Run a command whose stdout takes nothing, in this way; ``both``: nor does its stderr."""
    if how in BROKEN:
        return ran(running, arguments, BROKEN[how])
    if how == "disk full":
        stdout = os.open("/dev/full", os.O_WRONLY)
    else:
        gone, stdout = os.pipe()
        os.close(gone)  # the reader is gone before the first word
    more: dict[str, Any] = {"stderr": stdout} if both else {}
    with started(running, *arguments, stdout=stdout, **more) as process:
        os.close(stdout)
        return ended(process)


def paid(running: Running, order: str) -> bool:
    return running.call("query", order).exit_code == Exit.OK


class TestWhatCannotBeSaid:
    @pytest.mark.parametrize(("how", "shape"), crossed(product(HOWS, SHAPES)))
    def test_a_payment_is_told_on_stderr(self, running: Running, how: str, shape: str) -> None:
        """Paid is 0, and the last words say it: where stdout takes none, on stderr."""
        order = number()
        arguments = pay(order, "--yes", *(["--json"] if shape == "program" else []))
        end = ran_into_nobody(running, arguments, how)
        assert (end.code, end.out) == (Exit.OK, "")
        if shape == "program":
            assert json.loads(end.err)["status"] == "PAID"
        else:
            assert "PAID 12.30 yuan" in end.err.splitlines()[0]
        assert paid(running, order)

    @pytest.mark.parametrize(
        "how", cases(["both closed"], more=["2>&1 | true", "both on a full disk"])
    )
    def test_where_nothing_can_be_said_the_exit_code_is_left(
        self, running: Running, how: str
    ) -> None:
        """0 for paid, 6 for undecided, 1 for failed: nothing else is left to tell it."""
        ends = cases([("1405", Exit.PENDING)], more=[("1230", Exit.OK), ("1406", Exit.REFUSED)])
        for total, code in ends:
            arguments = pay(number(), "--yes", total=total)
            if how in MUTE:
                assert ran(running, arguments, MUTE[how]).code == code
            else:
                assert ran_into_nobody(running, arguments, both=True).code == code

    @pytest.mark.parametrize(("env", "shape"), crossed(product(POOR, SHAPES)))
    def test_a_character_that_is_lacking_hides_nothing(
        self, running: Running, env: str, shape: str
    ) -> None:
        """An encoding without Chinese: the rest is on stdout, and JSON stays JSON."""
        order = number()
        arguments = pay(order, "--yes", *(["--json"] if shape == "program" else []))
        for each in cases([arguments], more=[("query", order, *arguments[7:])]):
            end = ran(running, each, env=POOR[env])
            assert (end.code, end.err) == (Exit.OK, "")
            if shape == "program":
                assert json.loads(end.out)["status"] == "PAID"
            else:
                assert "PAID 12.30 yuan" in end.out

    @pytest.mark.parametrize("columns", cases(["x"], more=["0", "1", "-5"]))
    def test_a_strange_terminal_hides_nothing(self, running: Running, columns: str) -> None:
        """Whatever the environment says about widths."""
        env: dict[str, str | None] = {"COLUMNS": columns, "LINES": columns, "TERM": "unheard-of"}
        with started(running, *pay(number(), "--yes"), env=env) as process:
            end = ended(process)
        assert (end.code, "PAID 12.30 yuan" in end.out) == (Exit.OK, True)

    @pytest.mark.parametrize("how", cases(["disk full"], more=["| true"]))
    def test_every_command_that_moves_or_decides(self, running: Running, how: str) -> None:
        """trigger, watch, refund: each ends as what it did; with ``FULL=1`` the others, too."""
        order, other = number(), number()
        preorder = ("body=x", "total_fee=1405", "trade_type=NATIVE", "product_id=1", "--yes")
        refund = (f"out_refund_no=R{order}", "total_fee=1230", "refund_fee=505", "--yes")
        wechat = "paytype=WECHAT"
        watch = ("--paytype", "WECHAT", "--every", "0.1", "--until", "0.4")
        for arguments, code, words in (
            (("send", "WechatPreOrder", f"out_trade_no={other}", *preorder), 0, "OPEN 14.05"),
            (("trigger", "pays", other), 0, other),
            (("query", other), 0, "PAID 14.05"),
            (pay(order, "--yes"), 0, "PAID"),
            (("watch", order, "NOSUCH", *watch), 1, "PAID"),
            (("send", "refund", f"out_trade_no={order}", *refund, wechat), 0, "ACCEPTED"),
            (("refund-query", f"R{order}"), 6, "PENDING"),
            (("send", "cancel", f"out_trade_no={other}", wechat, "--yes"), 0, "ACCEPTED"),
        ):
            if not FULL and {"trigger", "watch", "refund"}.isdisjoint(arguments[:2]):
                assert running.call(*arguments).exit_code == code  # with streams that take it
                continue
            end = ran_into_nobody(running, arguments, how)
            assert (end.code, words in end.err) == (code, True), (arguments, end.err)

    @pytest.mark.parametrize("how", cases(["| true"], more=["disk full", *HOWS[2:]]))
    def test_a_decision_about_an_order(self, running: Running, how: str, tmp_path: Path) -> None:
        """`inbox apply`: marked is 0, and said on stderr; the mark is there."""
        shop = ShopOnDisk(tmp_path / "shop.db")
        shop(told("A1", 99))
        (one,) = listed(shop)
        where = ("--store", str(shop.path), "--yes")
        arguments = ("inbox", "apply", one["mch_id"], "A1", *where)
        end = ran_into_nobody(running, arguments, how)
        assert (end.code, "A1 of merchant 00000001: APPLY" in end.err) == (Exit.OK, True)
        assert listed(shop)[0]["mark"] == "APPLY"

    @pytest.mark.skipif(not FULL, reason="three processes; with FULL=1")
    def test_a_demo_whose_reader_has_left(self, running: Running) -> None:
        """The books agree, whoever listens."""
        end = ran_into_nobody(running, ("demo", "--payments", "4"))
        assert (end.code, "Everything adds up" in end.err) == (Exit.OK, True)

    def test_what_cannot_be_drawn_is_still_decided(
        self, running: Running, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Should showing a reply break, its meaning is said on stderr and is the exit code."""

        def broken(*_: object) -> Any:
            raise RecursionError

        monkeypatch.setattr(reply_display, "masked_fields", broken)
        for options in ((), ("--json",)):
            result = running.call(*pay(number(), "--yes"), *options)
            assert result.exit_code == Exit.OK
            assert "PAID 12.30 yuan" in result.stderr


class TestTheQuestion:
    @pytest.mark.parametrize(
        "how", cases(["<&-"], more=["</dev/null", "2>&-", "<&- >&-", "2>/dev/full"])
    )
    def test_without_a_question_or_an_answer_nothing_moves(
        self, running: Running, how: str
    ) -> None:
        """stdin closed or empty, or a stderr that takes no question: exit code 2, nothing sent.

        The last of these is one of the next test as well.
        """
        order = number()
        end = ran(running, pay(order), how)
        assert end.code == Exit.USAGE
        assert not paid(running, order)

    def test_a_yes_to_a_question_that_nobody_saw_is_none(self, running: Running) -> None:
        """`yes | chaoying send pay 2>&-` pays nothing."""
        order = number()
        assert ran(running, pay(order), "2>&-", before="yes |").code == Exit.USAGE
        assert not paid(running, order)

    def test_a_yes_pays_where_stdout_is_closed(self, running: Running) -> None:
        """The question is on stderr, so it was seen."""
        order = number()
        end = ran(running, pay(order), ">&-", before="echo y |")
        assert (end.code, "PAID 12.30 yuan" in end.err) == (Exit.OK, True)


#: Python turns SIGINT into an exception, and the others end a process.
SIGNALS = cases([signal.SIGINT, signal.SIGHUP], more=[signal.SIGTERM, signal.SIGQUIT])
#: Where it makes no difference which it is.
ANY = cases(SIGNALS[:1], more=SIGNALS[1:])


@contextmanager
def started(
    running: Running,
    *arguments: str,
    env: Mapping[str, str | None] = NO_MORE,
    **streams: Any,
) -> Generator[Process]:
    whole = environment({**running.env, **env})
    with begun(*arguments, env=whole, text=False, **streams) as process:
        try:
            yield process
        finally:
            process.kill()


def ended(process: Process | subprocess.Popen[bytes]) -> Ran:
    out, err = process.communicate(timeout=60)
    return Ran(process.wait(), out or b"", err or b"")


def wait_until_made(running: Running, order: str) -> None:
    """The gateway knows the order: whatever made it has been received."""
    while not paid(running, order):
        time.sleep(0.2)


class TestSignals:
    @pytest.mark.parametrize("sign", SIGNALS)
    def test_before_anything_is_sent(self, running: Running, sign: signal.Signals) -> None:
        """At the question: 130, and it says that nothing was done."""
        order = number()
        with started(running, *pay(order), stdin=subprocess.PIPE) as process:
            while b"Send it?" not in (seen := process.stderr.peek()):
                assert seen
            process.send_signal(sign)
            end = ended(process)
        assert (end.code, "nothing was done" in end.err) == (Exit.INTERRUPTED, True)
        assert not paid(running, order)

    @pytest.mark.parametrize(("sign", "shape"), crossed(product(SIGNALS, SHAPES)))
    def test_in_flight(self, slow: Running, sign: signal.Signals, shape: str) -> None:
        """M-01: money was asked to move and nobody answered: 3, and the query to type next."""
        order = number()
        options = ["--json"] if shape == "program" else []
        with started(slow, *pay(order, "--yes", *options)) as process:
            wait_until_made(slow, order)
            process.send_signal(sign)
            end = ended(process)
        assert end.code == Exit.UNKNOWN
        said = json.loads(end.out)["next"] if shape == "program" else end.err
        assert f"chaoying query {order}" in said

    def test_in_flight_and_nobody_reads(self, slow: Running) -> None:
        """The same where neither stream takes a word."""
        order = number()
        with (
            Path("/dev/full").open("wb") as full,
            started(
                slow, *pay(order, "--yes"), stdout=full.fileno(), stderr=full.fileno()
            ) as process,
        ):
            wait_until_made(slow, order)
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == Exit.UNKNOWN

    @pytest.mark.parametrize("sign", ANY)
    def test_while_a_stuck_pipe_is_written_to(self, running: Running, sign: signal.Signals) -> None:
        """Nobody reads, and the pipe is full: the signal ends the write, not the truth."""
        order = number()
        unread, stdout = os.pipe()
        os.set_blocking(stdout, False)
        with suppress(BlockingIOError):
            while os.write(stdout, b"x" * 4096):
                pass
        os.set_blocking(stdout, True)
        with started(running, *pay(order, "--yes"), stdout=stdout) as process:
            wait_until_made(running, order)
            wait_until_blocked(process.pid)
            process.send_signal(sign)
            end = ended(process)
        os.close(unread)
        os.close(stdout)
        assert (end.code, "PAID 12.30 yuan" in end.err) == (Exit.OK, True)

    def test_nohup_is_heeded(self, slow: Running) -> None:
        """A signal that was ignored when the command began stays ignored."""
        order = number()
        with subprocess.Popen[bytes](
            [*PROGRAM, *pay(order, "--yes")],
            cwd=ROOT,
            env=environment(slow.env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=_hup_ignored,
        ) as process:
            wait_until_made(slow, order)
            try:
                process.send_signal(signal.SIGHUP)
                with pytest.raises(subprocess.TimeoutExpired):
                    process.wait(0.5)
                process.send_signal(signal.SIGTERM)
                assert ended(process).code == Exit.UNKNOWN
            finally:
                process.kill()

    @pytest.mark.parametrize("sign", ANY)
    def test_a_read_is_only_interrupted(self, running: Running, sign: signal.Signals) -> None:
        """`watch` moves nothing: 130, and what is pending."""
        order, ended_one = number(), number()
        running.call(*pay(order, "--yes", total="1405"))
        running.call(*pay(ended_one, "--yes"))
        watch = ("watch", ended_one, order, "--paytype", "WECHAT", "--every", "0.05")
        with started(running, *watch) as process:
            assert b"PAID" in process.stdout.readline()
            process.send_signal(sign)
            end = ended(process)
        assert end.code == Exit.INTERRUPTED
        assert f"1 still pending: {order}" in end.err


def _hup_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def wait_until_blocked(pid: int) -> None:
    """Until a process sleeps in a write to a pipe."""
    while "pipe_write" not in Path(f"/proc/{pid}/wchan").read_text():
        time.sleep(0.01)
