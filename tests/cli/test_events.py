"""trigger, resend and listen: notifications from a real sandbox to a real receiver."""

from __future__ import annotations

import json
import signal
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from chaoying_async import Credentials, parse_notification
from chaoying_async.cli.commands import trigger
from chaoying_async.cli.listen.event_log import EventLog
from chaoying_async.cli.listen.forwarder import PATIENT, Forwarder
from chaoying_async.cli.listen.listen_app import ListenApp, ReceivedDelivery
from chaoying_async.exceptions import RequestNotSentError, TransportError
from chaoying_async.sandbox.serving.events import EVENTS
from chaoying_async.sansio.doctor import describe
from chaoying_async.sansio.notifications.reading import MAX_BODY
from chaoying_async.testing import FakeClock, sign_notification
from tests.cli.processes import line_of, process, sandbox
from tests.cli_calls import Running, UsersProgram, call, said

CREDENTIALS = Credentials(agent_id="1", key="key-of-the-listener", pid="p")
OPENID = "oHmbktxFlpoEPo2Ol5GOJniV2q-A"
#: What a receiver that only verifies must refuse; the rest is for the order's own rules.
REFUSED = {"forged", "unsigned", "tampered", "ambiguous", "unreadable"}


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with sandbox("--speed", "1000") as made:
        yield made


class TestTrigger:
    def test_the_list(self) -> None:
        """Every event with what it is, in words and as JSON."""
        result = call("trigger", "--list")
        told = json.loads(call("trigger", "--json", "--list").stdout)
        assert set(told["events"]) >= set(EVENTS) | {"pays", "fault"}
        assert all(name in result.stdout for name in told["events"])

    def test_what_people_do(self, running: Running) -> None:
        """The customer pays, declines, walks away; the gateway closes."""
        for at, (event, status) in enumerate(
            [("pays", "PAID"), ("declines", "FAILED"), ("closes", "CLOSED"), ("leaves", "OPEN")]
        ):
            order = f"D2000{at}"
            fields = (f"out_trade_no={order}", "body=x", "total_fee=1405", "trade_type=NATIVE")
            running.call("send", "WechatPreOrder", *fields, "product_id=1", "--yes")
            assert running.ask("trigger", event, order)["order"]["status"] == status
        assert "OPEN" in running.call("trigger", "leaves", "D20003").stdout

    def test_an_order_that_is_over_is_not_replayed(self, running: Running) -> None:
        """Nothing happens twice: exit code 2, how it ended, and what notifies once more."""
        fields = ("body=x", "total_fee=1405", "trade_type=NATIVE", "product_id=1", "--yes")
        with UsersProgram(b"success").serving() as url:
            for order, told in (("E20001", ()), ("E20002", (f"notify_url={url}",))):
                running.call("send", "WechatPreOrder", f"out_trade_no={order}", *fields, *told)
                running.call("trigger", "pays", order)
                for event in ("pays", "declines"):
                    result = running.call("trigger", event, order)
                    assert result.exit_code == 2
                    assert f"{order} is PAID and stays so: nothing was done" in result.stderr
                    assert (f"chaoying resend {order}" in result.stderr) is bool(told)
            assert running.call("resend", "E20002").exit_code == 0

    def test_what_really_happened_stands_below_the_answer(self, running: Running) -> None:
        """An accepted notification moves nothing; the books say how the order stands."""
        fields = ("body=x", "total_fee=1405", "trade_type=NATIVE", "product_id=1", "--yes")
        with UsersProgram().serving() as url:
            order = ("out_trade_no=E30001", f"notify_url={url}")
            running.call("send", "WechatPreOrder", *order, *fields)
            still = running.call("trigger", "paid", "E30001").stdout
            running.call("trigger", "pays", "E30001")
            replay = running.call("trigger", "paid", "E30001").stdout
            hostile = [
                running.call("trigger", event, "E30001").stdout
                for event in ("forged", "unsigned", "tampered", "mismatch", "other-order")
            ]
            wrong = running.ask("trigger", "not-paid", "E30001")
            nobody = running.call("trigger", "paid", "--notify-url", url).stdout
            forged = running.call("trigger", "forged", "--notify-url", url).stdout
        assert "E30001 of merchant 00000001 is still OPEN: only told of" in still
        assert "`chaoying trigger pays E30001`" in still
        assert "E30001 of merchant 00000001 was PAID before, and stays so" in replay
        assert "your program had accepted a notification of it already" in replay
        assert all("was PAID before, and stays so" in each for each in hostile)
        assert not any("repeats it" in each for each in hostile)
        assert (wrong["order"], wrong["repeated"]) == ("PAID", True)
        assert "accepted, though forged" in forged
        assert "nobody made this order" in nobody
        assert "merchant 00000001" in nobody

    def test_faults(self, running: Running) -> None:
        """One from now on, and none any more."""
        cancel = ("send", "cancel", "out_trade_no=NOSUCH1", "paytype=WECHAT", "--yes", "--json")
        assert "http-502" in running.call("trigger", "fault", "cancel/http-502").stdout
        assert "502" in said(running.call(*cancel))["message"]
        assert running.ask("trigger", "calm")["plans"] == []
        assert said(running.call(*cancel))["code"] == "20007"
        assert running.call("trigger", "fault", "meteor").exit_code == 2
        struck = []
        for _ in range(2):  # the same seed strikes the same calls
            running.ask("trigger", "fault", "cancel/http-502:0.5", "--seed", "7")
            struck.append(["502" in said(running.call(*cancel))["message"] for _ in range(8)])
        assert struck[0] == struck[1]
        assert len(set(struck[0])) == 2
        running.ask("trigger", "calm")

    def test_an_unknown_event_is_told(self, running: Running) -> None:
        """With those that there are."""
        result = running.call("trigger", "party")
        assert result.exit_code == 2
        assert "duplicate" in result.stderr

    def test_without_an_address_nothing_can_be_notified(self, running: Running) -> None:
        """Neither the order nor the command names one."""
        result = running.call("trigger", "forged")
        assert result.exit_code == 2
        assert "notify_url" in result.stderr

    def test_what_the_program_answered_is_shown(self, running: Running) -> None:
        """Accepted or not; a late one is announced."""
        with UsersProgram(b"success", b"busy").serving() as url:
            yes = running.call("trigger", "paid", "--notify-url", url)
            no = running.ask("trigger", "paid", "--notify-url", url)
            late = running.call("trigger", "late", "--notify-url", url, "--late", "900000")
        assert "accepted" in yes.stdout
        assert (no["deliveries"][0]["answer"], no["deliveries"][0]["accepted"]) == ("busy", False)
        assert "900000 s" in late.stdout

    def test_nobody_there(self) -> None:
        """Exit code 4, and how a sandbox is started."""
        result = call("trigger", "calm", "--url", "http://127.0.0.1:9")
        assert result.exit_code == 4
        assert "chaoying sandbox" in result.stderr

    @pytest.mark.parametrize("answer", [b"hello", b"[]"])
    def test_something_else_there(self, answer: bytes) -> None:
        """What is no sandbox is not believed."""
        with UsersProgram(answer).serving() as url, pytest.raises(TransportError):
            trigger._post(url, "act", {})
        with pytest.raises(RequestNotSentError):
            trigger._post("nowhere", "act", {})
        with pytest.raises(RequestNotSentError):
            trigger._post("http://[", "act", {})


class TestResend:
    def test_once_more(self, running: Running) -> None:
        """Accepted: 0; not accepted: 1; an order that nothing happened to: 2."""
        shop = UsersProgram(b"busy", b"busy", b"success", b"success")
        with shop.serving() as url:
            fields = ("out_trade_no=R20001", "body=x", "total_fee=1405", "trade_type=NATIVE")
            more = ("product_id=1", f"notify_url={url}", "--yes")
            running.call("send", "WechatPreOrder", *fields, *more)
            assert running.call("resend", "R20001").exit_code == 2
            told = running.ask("trigger", "not-paid", "R20001")
            assert told["deliveries"][0]["answer"] == "busy"
            running.call("trigger", "closes", "R20001")
            assert running.call("resend", "R20001").exit_code == 1
            assert running.call("resend", "--undelivered").exit_code == 0
            assert running.call("resend", "--undelivered").stdout == "nothing to send\n"
            assert "accepted" in running.call("resend", "R20001").stdout
        assert running.call("resend", "NOSUCH1").exit_code == 2


class TestListen:
    """A real listener process, a real sandbox, a real program behind it."""

    def test_it_verifies_and_passes_on(self, running: Running) -> None:
        """True ones reach the program byte for byte; the rest is refused, with the reason.

        Ctrl-C is how one leaves: exit code 0.
        """
        shop = UsersProgram()
        with (
            shop.serving() as url,
            process("listen", "--json", "--forward", url, env=running.env) as listener,
        ):
            notify_url = line_of(listener)["url"] + "/notify"
            heard: dict[str, dict[str, Any]] = {}
            for event in EVENTS:
                wish = ("trigger", event, "--notify-url", notify_url, "--late", "0")
                told = running.ask(*wish)
                assert len(told["deliveries"]) == EVENTS[event].times
                for delivery in told["deliveries"]:
                    assert delivery["accepted"] is (event not in REFUSED), event
                    heard[event] = _delivery(listener)
            for event, told in heard.items():
                assert told["ok"] is (event not in REFUSED), event
            listener.send_signal(signal.SIGINT)
            assert listener.wait() == 0
        passed = [parse_notification(body, _who(running)) for body in shop.got]
        assert len(passed) == len(EVENTS) - len(REFUSED) + 1  # one of them comes twice
        assert heard["unreadable"]["status"] == 400
        assert heard["forged"]["mistakes"] == ["unexplained"]
        assert heard["forged"]["explained"][0]["what_to_do"] == describe("unexplained")[1]
        assert all(datetime.fromisoformat(each["at"]).tzinfo for each in heard.values())
        assert heard["not-paid"]["outcome"] == "NOT_PAID"
        assert heard["contradiction"]["outcome"] == "UNCLEAR"

    def test_a_person_reads_it(self, running: Running) -> None:
        """Outcome, order, amount in yuan, time of arrival, and a sentence beside each slug."""
        before = datetime.now(UTC).replace(microsecond=0)
        with process("listen", "--count", "5", env=running.env) as listener:
            notify_url = listener.stdout.readline().split()[1]
            more = {"total_fee": 730, "fee_type": "USD", "time_end": before}
            order = {"mch_id": "00000001", "out_trade_no": "A100012"}
            httpx.post(notify_url, content=sign_notification(_who(running), **order, **more))
            running.call("trigger", "paid", "--notify-url", notify_url, "--total-fee", "1230")
            running.call("trigger", "forged", "--notify-url", notify_url)
            running.call("trigger", "not-paid", "--notify-url", notify_url)
            running.call("trigger", "contradiction", "--notify-url", notify_url)
            shown = listener.stdout.read()
        lines = shown.splitlines()
        heads = [each for each in lines if "answered 200" in each]
        times = [datetime.fromisoformat(each[:25]) for each in heads]
        assert len(times) == 5
        assert all(before <= each <= datetime.now(UTC) for each in times)
        # Told once the doctor is done: those that came later may be told before it.
        unexplained = next(n for n, line in enumerate(lines) if "REFUSED" in line) + 1
        happened, to_do = describe("unexplained")
        assert lines[unexplained : unexplained + 2] == [
            f"  unexplained: {happened}",
            f"    {to_do}",
        ]
        for words in ("says: paid", "this payment failed", "its fields do not agree"):
            assert words in shown
        assert "PAID" in shown
        assert "12.30 yuan" in shown
        assert "730 (fee_type USD)" in shown
        assert "7.30" not in shown
        assert "REFUSED" in shown
        assert OPENID not in shown

    def test_the_log_outlives_it(self, running: Running, tmp_path: Path) -> None:
        """Answered success once it is on the disk; the next run passes it on (M-14)."""
        log = tmp_path / "events.jsonl"
        nobody = "http://127.0.0.1:9/paid"
        options = ("listen", "--json", "--log", str(log), "--forward")
        with process(*options, nobody, "--count", "2", env=running.env) as listener:
            notify_url = line_of(listener)["url"]
            assert _answer(running, notify_url, "paid") == "success"
            assert _answer(running, notify_url, "forged") == "fail"
            assert listener.wait() == 0
        assert stat.S_IMODE(log.stat().st_mode) == 0o600
        shop = UsersProgram()
        with shop.serving() as url, process(*options, url, env=running.env) as listener:
            lines = [line_of(listener) for _ in range(2)]
        assert [each["event"] for each in lines] == ["listening", "forwarded"]
        assert len(shop.got) == 1
        events = [json.loads(line)["event"] for line in log.read_text("utf-8").splitlines()]
        assert events == ["received", "forwarded"]


def _delivery(listener: Any) -> dict[str, Any]:
    """The next line that is about a delivery."""
    while (line := line_of(listener))["event"] == "forwarded":
        pass
    return line


def _answer(running: Running, notify_url: str, event: str) -> Any:
    told = running.ask("trigger", event, "--notify-url", notify_url)
    return told["deliveries"][0]["answer"]


def _who(running: Running) -> Credentials:
    told = running.told
    return Credentials(agent_id=told["agent_id"], key=told["key"], pid=told["pid"])


def body(number: str = "A100011", credentials: Credentials = CREDENTIALS) -> bytes:
    return sign_notification(credentials, mch_id="1", out_trade_no=number, total_fee=1)


class TestReceiver:
    """In this process, on a clock that is moved by hand."""

    async def test_with_a_log_it_tries_for_hours(self, tmp_path: Path) -> None:
        """The program is down for an hour; the gateway was answered at once; then it arrives."""
        clock, tried = FakeClock(), 0

        def answer(_request: httpx.Request) -> httpx.Response:
            nonlocal tried
            tried += 1
            if tried < len(PATIENT) - 1:
                raise httpx.ConnectError("down")
            return httpx.Response(200, content=b"success")

        forward = Forwarder("http://shop.test/", clock, httpx.MockTransport(answer))
        with EventLog(tmp_path / "log") as log:
            receiver = ListenApp(
                *(CREDENTIALS, clock),
                forward=forward,
                log=log,
                tell=lambda _: None,
                tell_attempt=lambda *_: None,
            )
            assert (await receiver.handle(body())).answer == b"success"
            assert len(log.open) == 1
            await clock.advance(sum(PATIENT))
            assert (tried, log.open) == (len(PATIENT) - 1, {})
            await receiver.aclose()
        await forward.aclose()

    @pytest.mark.parametrize(
        ("answers", "said", "at"),
        [
            ([b"no", b"no", b"no", b"success"], b"fail", [0.0, 0.1, 0.4]),
            ([b"no", b"success"], b"success", [0.0, 0.1]),
        ],
    )
    async def test_without_a_log_the_gateway_hears_what_the_program_said(
        self, answers: list[bytes], said: bytes, at: list[float]
    ) -> None:
        """Three quick tries; refused, nobody keeps it: ``fail``, and it comes again (M-14)."""
        clock, moments, attempts = FakeClock(), list[float](), list[bool]()
        left = iter(answers)

        def answer(_request: httpx.Request) -> httpx.Response:
            moments.append(clock.monotonic())
            return httpx.Response(200, content=next(left))

        forward = Forwarder("http://shop.test/", clock, httpx.MockTransport(answer))
        receiver = ListenApp(
            *(CREDENTIALS, clock),
            forward=forward,
            tell=lambda _: None,
            tell_attempt=lambda _, attempt: attempts.append(attempt.accepted),
        )
        heard = await clock.run(receiver.handle(body()))
        assert (heard.status, heard.answer) == (200, said)
        assert moments == pytest.approx(at)
        assert attempts == [False] * (len(at) - 1) + [said == b"success"]
        await forward.aclose()

    async def test_a_slow_program_is_not_waited_for(self) -> None:
        """The gateway waits three seconds: then it is answered ``fail``, and comes again."""
        clock = FakeClock()

        async def answer(_request: httpx.Request) -> httpx.Response:
            await clock.sleep(60)
            return httpx.Response(200, content=b"success")

        forward = Forwarder("http://shop.test/", clock, httpx.MockTransport(answer))
        receiver = ListenApp(
            *(CREDENTIALS, clock),
            forward=forward,
            tell=lambda _: None,
            tell_attempt=lambda *_: None,
        )
        heard = await clock.run(receiver.handle(body()))
        assert (heard.status, heard.answer) == (200, b"fail")
        await forward.aclose()

    @pytest.mark.parametrize(
        ("sent", "status"),
        [
            (b"x" * (MAX_BODY + 1), 413),
            (b"<xml/>", 400),
            (b"{}", 400),
            (body(credentials=Credentials(agent_id="1", key="another", pid="p")), 200),
        ],
        ids=["large", "xml", "json", "forged"],
    )
    async def test_what_is_not_believed(self, sent: bytes, status: int, tmp_path: Path) -> None:
        """M-14: ``fail`` with the status that belongs to it; nothing unverified is stored."""
        heard: list[ReceivedDelivery] = []
        with EventLog(tmp_path / "log") as log:
            receiver = ListenApp(
                *(CREDENTIALS, FakeClock()),
                log=log,
                tell=heard.append,
                tell_attempt=lambda *_: None,
            )
            transport = httpx.ASGITransport(receiver)
            async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
                reply = await client.post("/any/path", content=sent)
        assert (reply.status_code, reply.content) == (status, b"fail")
        assert heard[0].notification is None
        assert (tmp_path / "log").read_bytes() == b""

    async def test_an_answer_that_is_too_long_is_none(self) -> None:
        """``success`` and then a page of HTML is not ``success``."""
        clock = FakeClock()
        pages = httpx.MockTransport(lambda _: httpx.Response(200, content=b"success" * 1000))
        forward = Forwarder("http://shop.test/", clock, pages)
        attempt = await forward.deliver(body(), (0.0,), lambda _: None)
        assert not attempt.accepted
        await forward.aclose()

    async def test_a_host_that_is_no_name_is_an_attempt_that_failed(self) -> None:
        """httpx lets the error of its library for names through; a task must not die of it."""
        forward = Forwarder("http://xn--/", FakeClock())
        attempt = await forward.deliver(body(), (0.0,), lambda _: None)
        assert (attempt.status, attempt.problem) == (None, "it is not the address of a web server")
        await forward.aclose()


class TestEventLog:
    def test_a_line_that_a_crash_cut_off_is_forgotten(self, tmp_path: Path) -> None:
        """It was never answered, so the gateway brings it again; the rest stays."""
        path = tmp_path / "log"
        with EventLog(path) as log:
            log.received(b"one", "now", "A1")
            log.received(b"two", "now", "A2")
        whole = path.read_bytes()
        path.write_bytes(whole[:-10])
        with EventLog(path) as log:
            assert [entry.body for entry in log.open.values()] == [b"one"]
            assert log.received(b"three", "now", "A3").number == 2
        with EventLog(path) as log:
            assert [entry.body for entry in log.open.values()] == [b"one", b"three"]

    @pytest.mark.parametrize("content", [b"hello\n", b"hello", b"[]\n", b'{"number": "1"}\n'])
    def test_another_file_is_left_alone(self, content: bytes, tmp_path: Path) -> None:
        """What is no event log is refused, and not written to."""
        path = tmp_path / "log"
        path.write_bytes(content)
        result = call(
            *("listen", "--log", str(path)),
            env={"CHAOYING_KEY": "k", "CHAOYING_AGENT_ID": "1", "CHAOYING_PID": "p"},
        )
        assert result.exit_code == 2
        assert "no event log" in result.stderr
        assert path.read_bytes() == content

    def test_a_second_listener_does_not_start_on_the_same_log(self, tmp_path: Path) -> None:
        """Both would number alike, and one's `forwarded` line would close the other's message."""
        path = tmp_path / "log"
        with EventLog(path) as log:
            log.received(b"one", "now", "A1")
            with pytest.raises(OSError, match=r"in use by another"), EventLog(path):
                pass
            assert log.received(b"two", "now", "A2").number == 2
        with EventLog(path) as log:  # the first has ended
            assert [entry.body for entry in log.open.values()] == [b"one", b"two"]

    def test_outside_its_block_it_takes_nothing(self, tmp_path: Path) -> None:
        """An error, not a notification that is lost in silence."""
        log = EventLog(tmp_path / "log")
        with pytest.raises(OSError, match="closed"):
            log.received(b"one", "now", "A1")
