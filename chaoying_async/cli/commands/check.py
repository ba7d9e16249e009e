"""``chaoying check``: asks a gateway whether everything is as we think, with reads only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs
import click

from chaoying_async.cli import gateway_options, interrupts, output
from chaoying_async.cli.commands.query import MERCHANT
from chaoying_async.cli.exits import Exit
from chaoying_async.cli.gateway_options import (
    SignerOptions,
    Target,
    session,
    target,
    target_options,
)
from chaoying_async.cli.language import shown
from chaoying_async.cli.probe import Prober, ProbeResult, failures_signed, name_order
from chaoying_async.cli.reach import ReachedHost, other_hosts
from chaoying_async.clock import SystemClock
from chaoying_async.exceptions import OrderNotFoundError
from chaoying_async.sansio.api.endpoint import Request
from chaoying_async.sansio.api.follow_up import OrderQuery
from chaoying_async.sansio.api.merchant import GetMchInfo
from chaoying_async.sansio.credentials import Credentials, SignAlgorithm, SortOrder
from chaoying_async.sansio.enums import PayType

_ORDERS = {
    SortOrder.ASCII: "names are sorted by ASCII code, as v2.9.0 says",
    SortOrder.IGNORE_CASE: "names are sorted without regard to case, as the later document says",
}


@attrs.frozen(kw_only=True)
class CheckLine:
    """One line of the report. ``fine``: it is as we think; None: nobody can tell."""

    check: str
    fine: bool | None
    answer: str
    means: str


@click.command(name="check")
@MERCHANT
@target_options
@output.json_option
def check(mch_id: str | None, url: str | None, hosts: str, **options: Any) -> None:
    """Ask a gateway whether everything is what we think. Reads only, moves nothing.

    Two calls: GetMchInfo (获取超赢商户基础信息) for the merchant, and orderquery (订单查询) for a
    number that cannot exist. The other hosts are connected to, with TLS, and asked nothing. Exit
    code 0: all is as we think; 1: something is not; 4 and 5: no answer, or none to be trusted.
    """
    given = SignerOptions.taken_from(options)
    where = target(url, hosts)
    who = gateway_options.credentials(given, also={"CHAOYING_MCH_ID": mch_id})
    report = interrupts.run(_report(where, who, mch_id or ""))
    if output.as_json():
        output.tell(_record(where, report))
    else:
        _show(where, report)
    output.end(report.code)


@attrs.frozen(kw_only=True)
class CheckReport:
    """All findings of one run."""

    findings: tuple[CheckLine, ...]
    order: SortOrder | None
    failures_signed: bool | None
    algorithm: SignAlgorithm | None
    code: Exit


async def _report(where: Target, who: Credentials, mch_id: str) -> CheckReport:
    merchant, order = await _ask(where, who, mch_id, GetMchInfo(), _impossible())
    algorithm = who.algorithm if order.spoke and not order.signature_refused else None
    if order.signature_refused:
        algorithm = await _another_algorithm(where, who, mch_id)
    sorting = name_order(merchant, who)
    signed = failures_signed(order)
    asked = {each.host: each for each in (merchant, order)}
    findings = (
        *map(_host, asked.values()),
        *map(_other_host, await other_hosts(where.hosts, asked)),
        _key(order, who, algorithm),
        _merchant(merchant),
        _trades(order),
        _sorting(sorting, who),
        _signing(signed),
    )
    return CheckReport(
        findings=findings,
        order=sorting,
        failures_signed=signed,
        algorithm=algorithm,
        code=_code(findings, (merchant, order)),
    )


async def _ask(
    where: Target, who: Credentials, mch_id: str, *requests: Request[Any]
) -> list[ProbeResult]:
    asker = Prober(who)
    hooks = {"response": [asker.note]}
    async with session(where, who, mch_id=mch_id, read_retries=0, event_hooks=hooks) as gateway:
        return [await asker.ask(gateway, request) for request in requests]


def _impossible() -> OrderQuery:
    """A query for a number that nobody can have used: it contains the current time."""
    return OrderQuery(
        paytype=PayType.WECHAT, out_trade_no=f"NOSUCH{SystemClock().now():%Y%m%d%H%M%S%f}"
    )


async def _another_algorithm(where: Target, who: Credentials, mch_id: str) -> SignAlgorithm | None:
    """The algorithm of the document that the gateway takes where it refuses ours; None: none."""
    for algorithm in SignAlgorithm:
        if algorithm is who.algorithm:
            continue
        other = attrs.evolve(who, algorithm=algorithm)
        (asked,) = await _ask(where, other, mch_id, _impossible())
        if asked.spoke and not asked.signature_refused and asked.verified is not False:
            return algorithm
    return None


def _code(findings: Iterable[CheckLine], asked: Sequence[ProbeResult]) -> Exit:
    if not any(each.spoke for each in asked):
        return Exit.UNREACHED
    if any(each.untrusted and not each.signature_refused for each in asked):
        return Exit.UNTRUSTED
    return Exit.REFUSED if any(finding.fine is False for finding in findings) else Exit.OK


def _host(asked: ProbeResult) -> CheckLine:
    return CheckLine(
        check=f"address {asked.host}",
        fine=asked.spoke,
        answer=asked.answer,
        means="it speaks like the gateway" if asked.spoke else asked.trouble,
    )


def _other_host(reached: ReachedHost) -> CheckLine:
    calls = ", ".join(reached.calls)
    means = f"it can be reached; {calls} go there, so nothing was asked"
    return CheckLine(
        check=f"address {reached.host}",
        fine=not reached.trouble,
        answer=reached.protocol or "no answer",
        means=f"{reached.trouble}. {calls} go there" if reached.trouble else means,
    )


def _key(order: ProbeResult, who: Credentials, algorithm: SignAlgorithm | None) -> CheckLine:
    name = f"key, agent, {who.algorithm}"
    if not order.spoke:
        return CheckLine(check=name, fine=None, answer="", means="nobody answered")
    if order.signature_refused:
        means = (
            f"the key is right, but the gateway signs with {algorithm}: set CHAOYING_ALGORITHM"
            if algorithm
            else "the gateway computes another signature: another key (it is the agent's, not the "
            "merchant's), another environment, or an agent that does not belong to it"
        )
        return CheckLine(check=name, fine=False, answer=order.answer, means=means)
    if order.untrusted:
        return CheckLine(check=name, fine=False, answer=order.answer, means=order.trouble)
    means = _AGENT.get(order.code or "", "the gateway accepts our signature")
    fine = order.code not in _AGENT
    return CheckLine(check=name, fine=fine, answer=order.answer, means=means)


_AGENT: Mapping[str, str] = {
    "20012": "the signature is right, but the agent number (代理商号) is not known or disabled",
    "VER": "the signature is right, but CHAOYING_VERSION is too low for this gateway",
}


def _merchant(asked: ProbeResult) -> CheckLine:
    if asked.reply is not None and asked.reply.result is not None:
        result = asked.reply.result
        names = f"{result.ShortName or ''} {result.FullName or ''}".strip()
        return CheckLine(check="merchant", fine=True, answer=names, means="the merchant is known")
    if asked.code == "20005":
        means = "this agent has no merchant (商户号) of that number, or it is disabled"
        return CheckLine(check="merchant", fine=False, answer=asked.answer, means=means)
    return CheckLine(check="merchant", fine=None, answer=asked.answer, means="could not be told")


def _trades(asked: ProbeResult) -> CheckLine:
    if isinstance(asked.error, OrderNotFoundError):
        means = "the merchant may trade: the order was looked for, and does not exist, as it should"
        return CheckLine(check="trading", fine=True, answer=asked.answer, means=means)
    means = _TRADING.get(asked.code or "", "could not be told")
    fine = False if asked.code in _TRADING else None
    return CheckLine(check="trading", fine=fine, answer=asked.answer, means=means)


_TRADING: Mapping[str, str] = {
    "20005": "the merchant is not known to the trading side, or is not enabled (商户错误)",
    "20013": "the merchant has no trading configuration (商户交易配置错误): ask support",
}


def _sorting(order: SortOrder | None, who: Credentials) -> CheckLine:
    if order is None:
        means = "only a signed reply with capital letters tells: GetMchInfo brought none"
        return CheckLine(check="name order", fine=None, answer="", means=means)
    fine = order is who.sort_order
    means = _ORDERS[order]
    if not fine:
        means += f": set sort_order=SortOrder.{order.name} (here: --order {_OPTION[order]})"
    return CheckLine(check="name order", fine=fine, answer=order.value, means=means)


_OPTION = {SortOrder.ASCII: "ascii", SortOrder.IGNORE_CASE: "ignore-case"}


def _signing(signed: bool | None) -> CheckLine:
    if signed is None:
        return CheckLine(check="failures", fine=None, answer="", means="no refusal came to look at")
    answer, means = _SIGNED[signed]
    return CheckLine(check="failures", fine=True, answer=answer, means=means)


_SIGNED: Mapping[bool, tuple[str, str]] = {
    True: ("signed", "refusals are signed, as v2.9.0 says: require_signed=True can be used"),
    False: (
        "not signed",
        "only successes are signed, as the later document says; leave require_signed off",
    ),
}


def _record(where: Target, report: CheckReport) -> dict[str, Any]:
    return {
        "ok": report.code is Exit.OK,
        "exit": int(report.code),
        "gateway": where.name,
        "sort_order": report.order,
        "failures_signed": report.failures_signed,
        "algorithm": report.algorithm,
        "checks": [attrs.asdict(finding) for finding in report.findings],
    }


_MARKS = {True: "[green]yes[/]", False: "[bold red]NO[/]", None: "?"}


def _show(where: Target, report: CheckReport) -> None:
    from rich.markup import escape

    titles = ("as we think?", "the gateway says", "that means")
    table = output.table(where.name, "", *map(shown, titles))
    for each in report.findings:
        told = (shown(each.check), each.answer, shown(each.means))
        check, *cells = (escape(output.printable(text)) for text in told)
        table.add_row(check, shown(_MARKS[each.fine]), *cells)
    said = output.console(markup=True)
    said.print(table)
