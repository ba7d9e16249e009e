"""The merchant calls (运维管理): onboarding, logins, and what a merchant is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TypeVar

import attrs

from chaoying_async.sandbox.bank.entities import Ledger, Merchant, SmsCode, Step
from chaoying_async.sandbox.bank.reply_fields import packed
from chaoying_async.sandbox.document.draft_reply import DraftReply, refusal

#: Lifetime of an SMS code, in minutes; GetMchSMSValid answers it as ``code`` (C 26).
SMS_MINUTES = 20
#: How long a new merchant awaits its review.
REVIEW = timedelta(minutes=1)
#: The password of every merchant's login.
PASSWORD = "12345678"  # noqa: S105 - the document's own example
#: How many payment directories, paying accounts and recommendations a merchant may have.
LIMIT = 2

Fields = Mapping[str, str]
T = TypeVar("T")


def mch_reg(ledger: Ledger, fields: Fields, now: datetime) -> Step:
    """``Mch_Reg``: a new merchant, which is enabled after its review.

    The document has no parameters for it; ``FullName`` and ``ShortName`` are taken where given.
    """
    serial = ledger.serial + 1
    merchant = Merchant(
        mch_id=f"9{serial:07d}",
        full_name=fields.get("FullName", "新商户有限公司"),
        short_name=fields.get("ShortName", "新商户"),
        trade_code=f"New{serial}",
        state="0",
        enabled_at=now + REVIEW,
    )
    ledger = attrs.evolve(_with(ledger, merchant), serial=serial)
    return Step(ledger, DraftReply(fields={"mch_id": merchant.mch_id}))


def get_mch_sms_valid(ledger: Ledger, fields: Fields, now: datetime) -> Step:
    """``GetMchSMSValid``: send a code; in the sandbox it is the last four digits of the number."""
    mobile = fields["mobile"]
    code = SmsCode(valid=mobile[-4:], until=now + timedelta(minutes=SMS_MINUTES))
    ledger = attrs.evolve(ledger, sms=ledger.sms.put(mobile, code))
    return Step(ledger, DraftReply(code=str(SMS_MINUTES), msg="短信验证码已发送"))


def get_mch_id(ledger: Ledger, fields: Fields, now: datetime) -> Step:
    """``GetMchId``: the merchant behind a login; an SMS code is good for 20 minutes."""
    login = fields.get("mobile") or fields.get("username", "")
    merchant = next((each for each in ledger.merchants.values() if each.mobile == login), None)
    if merchant is None or not login:
        return Step(ledger, refusal("20005", "no merchant has that login"))
    if fields.get("valid"):
        sent = ledger.sms.get(login)
        right = sent is not None and fields["valid"] == sent.valid and now < sent.until
    else:
        right = fields.get("password") == PASSWORD
    if not right:
        return Step(ledger, refusal("20004", "valid or password is wrong, or no longer good"))
    return Step(ledger, DraftReply(fields=identity(merchant, now)))


def identity(merchant: Merchant, now: datetime) -> dict[str, str | int]:
    """The fields about a merchant that GetMchId and both terminal calls give."""
    return {
        "mch_id": merchant.mch_id,
        "mch_trade_code": merchant.trade_code,
        "mch_full_name": merchant.full_name,
        "mch_short_name": merchant.short_name,
        "mch_state": merchant.state_at(now),
    }


def get_partner_id(ledger: Ledger, fields: Fields, _now: datetime) -> Step:
    """``GetPartnerId``: its WeChat sub-merchant numbers; CCB is in no table (C 103)."""
    partners = [
        {"pay_channel": channel, "partner_id": number, "appid": "wx2a8d87e234100000"}
        for channel, number in (("CEB", "257012345"), ("CCB", "257012346"), ("WECHAT", ""))
    ]
    told = {"mch_id": fields["mch_id"], "partner_list": packed(partners)}
    return Step(ledger, DraftReply(fields=told))


def get_mch_info(ledger: Ledger, fields: Fields, _now: datetime) -> Step:
    """``GetMchInfo``: the names, whose capitals are what name order is about (C 1)."""
    merchant = ledger.merchants[fields["mch_id"]]
    told = {
        "mch_id": merchant.mch_id,
        "FullName": merchant.full_name,
        "ShortName": merchant.short_name,
    }
    return Step(ledger, DraftReply(fields=told))


def wx_addsubdevconfig(ledger: Ledger, fields: Fields, _now: datetime) -> Step:
    """``wx_addsubdevconfig``: add, never change; at most two of each kind, one to follow each."""
    merchant = ledger.merchants[fields["mch_id"]]
    appid = fields.get("appid", "")
    follow = fields.get("subscribe_appid") or fields.get("receipt_appid")
    if follow and dict(merchant.follows).get(appid, follow) != follow:
        return Step(ledger, refusal("20004", "an appid recommends one account, and keeps to it"))
    changed = attrs.evolve(
        merchant,
        paths=_added(merchant.paths, *filter(None, fields.get("jsapi_path", "").split(";"))),
        appids=_added(merchant.appids, *filter(None, [appid])),
        follows=_added(merchant.follows, *([(appid, follow)] if follow else ())),
    )
    if max(map(len, (changed.paths, changed.appids, changed.follows))) > LIMIT:
        return Step(ledger, refusal("20004", f"a merchant has at most {LIMIT} of each kind"))
    return Step(_with(ledger, changed), DraftReply())


def _added(known: tuple[T, ...], *more: T) -> tuple[T, ...]:
    return tuple(dict.fromkeys((*known, *more)))


def _with(ledger: Ledger, merchant: Merchant) -> Ledger:
    return attrs.evolve(ledger, merchants=ledger.merchants.put(merchant.mch_id, merchant))
