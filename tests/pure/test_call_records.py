"""What is kept of a call: the line of an audit log, and the numbers of a session."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import attrs
import pytest

from chaoying_async import TransportError
from chaoying_async.sansio.audit import record
from chaoying_async.sansio.call_numbers import CallCounts, CallDurations, SessionStats
from chaoying_async.sansio.exchange import build_request
from tests.factories import CREDENTIALS, KEY, OPENID, ORDER, every_request

NOW = datetime(2026, 1, 1, 4, 0, tzinfo=UTC)
PAY = build_request(every_request()["pay"], CREDENTIALS)
SCANNED = build_request(every_request()["QrConfGet"], CREDENTIALS)


class TestAuditLine:
    """Lines are kept for years, and read by other programs: names and meanings stay."""

    def test_a_line_says_what_went_both_ways(self) -> None:
        """Every member by its name; the key, the signature and the buyer are masked (M-27)."""
        reply = f'{{"msg":"好的 {KEY}","openid":"{OPENID}"}}'.encode()
        made = record(PAY, CREDENTIALS, elapsed=0.25, status=200, body=reply)
        assert json.loads(made.line(NOW)) == {
            "at": "2026-01-01T04:00:00.000+00:00",
            "endpoint": "pay",
            "order": ORDER,
            "method": "POST",
            "url": "https://pay.storepos.cn/UnifiedPay/Gateway",
            "status": 200,
            "request": (
                "agent_id=95272019032500001&auth_code=***&body=tea&mch_id=00000001&method=pay"
                f"&out_trade_no={ORDER}&pid=test_pid&sign=***&total_fee=100&version=1.0"
            ),
            "reply": '{"msg":"好的 ***","openid":"***"}',
            "elapsed": 0.25,
            "error": None,
        }
        assert "好的" in made.line(NOW)

    def test_of_an_error_the_kind_alone_is_told(self) -> None:
        """No answer came: neither a status nor a reply, and no word of the error."""
        made = record(PAY, CREDENTIALS, elapsed=1.5, error=TransportError("refused by 10.0.0.7"))
        line = json.loads(made.line(NOW))
        assert (line["error"], line["status"], line["reply"]) == ("TransportError", None, None)
        assert "10.0.0.7" not in made.line(NOW)

    def test_an_address_is_told_without_its_query(self) -> None:
        """A scanned link and the parameters in it: they stand in the request, masked."""
        line = json.loads(record(SCANNED, CREDENTIALS, elapsed=0.0).line(NOW))
        assert (line["url"], line["method"]) == (SCANNED.url.split("?")[0], "GET")
        assert "op_shop_id=1" in line["request"]

    def test_a_reply_of_any_bytes_is_one_line(self) -> None:
        """A page of a proxy in another encoding, with line ends."""
        made = record(PAY, CREDENTIALS, elapsed=0.0, status=502, body=b"<html>\n\xc4\xe3")
        for each in (made, attrs.evolve(made, reply=b"<html>\n\xc4\xe3")):
            assert "\n" not in each.line(NOW)
            assert json.loads(each.line(NOW))["reply"].startswith("<html>\n")


class TestCallNumbers:
    """Dashboards and alerts are made of these."""

    @pytest.mark.parametrize(
        ("seconds", "place"),
        [
            *[(0.0, 0), (0.05, 0), (0.051, 1), (0.1, 1), (0.101, 2), (0.2, 2), (0.201, 3)],
            *[(0.5, 3), (0.501, 4), (1.0, 4), (1.001, 5), (2.0, 5), (2.001, 6), (5.0, 6)],
            *[(5.001, 7), (10.0, 7), (10.001, 8), (30.0, 8), (30.001, 9), (9000.0, 9)],
        ],
    )
    def test_a_call_counts_under_the_first_bound_that_it_kept(
        self, seconds: float, place: int
    ) -> None:
        """Nine bounds, the moment itself included, and one number for what took longer."""
        counts = CallCounts()
        counts.begin()
        counts.end("pay", "RESULT", seconds)
        expected = tuple(int(each == place) for each in range(10))
        took = counts.snapshot().durations["pay"]
        assert took == CallDurations(seconds=seconds, counts=expected)

    def test_calls_are_summed_by_endpoint_and_outcome(self) -> None:
        """What is under way counts until it ends; a snapshot stays as it was taken."""
        counts = CallCounts()
        assert counts.snapshot() == SessionStats(in_flight=0, calls={}, durations={})
        for _ in range(4):
            counts.begin()
        assert counts.snapshot().in_flight == 4
        before = counts.snapshot()
        counts.end("pay", "RESULT", 0.25)
        counts.end("pay", "RESULT", 0.5)
        counts.end("pay", "TransportError", 40.0)
        stats = counts.snapshot()
        assert (before.calls, stats.in_flight) == ({}, 1)
        assert stats.calls == {("pay", "RESULT"): 2, ("pay", "TransportError"): 1}
        assert stats.durations["pay"].seconds == 40.75
        assert stats.durations["pay"].counts == (0, 0, 0, 2, 0, 0, 0, 0, 0, 1)
