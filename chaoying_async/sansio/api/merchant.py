"""运维管理: merchants, their numbers and settings, and mini program logins."""

from __future__ import annotations

import attrs

from chaoying_async.sansio.api.details import Partner
from chaoying_async.sansio.checks import at_most_one, complete_pair
from chaoying_async.sansio.enums import MchState
from chaoying_async.sansio.models import Model, model
from chaoying_async.sansio.outcome import Family
from chaoying_async.sansio.request import Endpoint, Host, Request
from chaoying_async.sansio.rules import Text, UrlList


@model
class MchRegResult(Model):
    """What :class:`MchReg` brings back: 注册超赢虚拟商户."""

    mch_id: str | None = None
    nonce_str: str | None = None


@model
class MchReg(Request[MchRegResult]):
    """``Mch_Reg`` 注册超赢虚拟商户: register a virtual merchant.

    Register a merchant. Every business parameter is undocumented and handed out by support: pass
    them as ``extra``. Not repeated by itself, since it changes something.
    """

    endpoint = Endpoint(
        name="Mch_Reg",
        title="注册超赢虚拟商户",
        family=Family.OPERATION,
        host=Host.API,
        path="/UnifiedPay/Mch_Reg",
    )
    result_type = MchRegResult


@model
class GetMchSmsValidResult(Model):
    """What :class:`GetMchSmsValid` brings back: 下发获取超赢商户号验证短信."""

    #: Lifetime of the SMS code in minutes; travels as ``code`` (C 26).
    valid_minutes: int | None = attrs.field(default=None, metadata={"wire": "code"})


@model
class GetMchSmsValid(Request[GetMchSmsValidResult]):
    """``GetMchSMSValid`` 下发获取超赢商户号验证短信: send the SMS code for GetMchId.

    Send the SMS code that :class:`GetMchId` takes. ``code`` of the answer is its lifetime in
    minutes, not a status (C 26). Not repeated by itself: every call sends a message.
    """

    endpoint = Endpoint(
        name="GetMchSMSValid",
        title="下发获取超赢商户号验证短信",
        family=Family.SMS,
        host=Host.API,
        path="/Mch/GetMchSMSValid",
    )
    result_type = GetMchSmsValidResult

    mobile: Text


@model
class GetMchIdResult(Model):
    """What :class:`GetMchId` brings back: 获取超赢商户号."""

    mch_id: str | None = None
    mch_trade_code: str | None = None
    mch_full_name: str | None = None
    mch_short_name: str | None = None
    mch_state: MchState | str | None = None


@model
class GetMchId(Request[GetMchIdResult]):
    """``GetMchId`` 获取超赢商户号: get the merchant number.

    The merchant number behind ``mobile`` and ``valid`` (the SMS code), or ``username`` and
    ``password``. One complete pair is needed (C 79). Both secrets travel as plain text inside TLS.
    Safe to repeat.
    """

    endpoint = Endpoint(
        name="GetMchId",
        title="获取超赢商户号",
        family=Family.OPERATION,
        host=Host.API,
        path="/Mch/GetMchId",
        repeatable=True,
    )
    result_type = GetMchIdResult
    checks = (complete_pair(("mobile", "valid"), ("username", "password")),)

    mobile: Text | None = None
    valid: Text | None = None
    username: Text | None = None
    password: Text | None = None


@model
class GetPartnerIdResult(Model):
    """What :class:`GetPartnerId` brings back: 获取超赢商户微信子商户号."""

    mch_id: str | None = None
    partner_list: tuple[Partner, ...] | None = None


@model
class GetPartnerId(Request[GetPartnerIdResult]):
    """``GetPartnerId`` 获取超赢商户微信子商户号: get the WeChat sub-merchant numbers of a merchant.

    The WeChat sub-merchant numbers of a merchant, per channel; the channels are an open set (C
    103).
    """

    endpoint = Endpoint(
        name="GetPartnerId",
        title="获取超赢商户微信子商户号",
        family=Family.OPERATION,
        host=Host.API,
        path="/Open/GetPartnerId",
        repeatable=True,
    )
    result_type = GetPartnerIdResult
    needed = ("mch_id",)

    mch_id: Text | None = None


@model
class GetMchInfoResult(Model):
    """What :class:`GetMchInfo` brings back: 获取超赢商户基础信息."""

    mch_id: str | None = None
    FullName: str | None = None
    ShortName: str | None = None


@model
class GetMchInfo(Request[GetMchInfoResult]):
    """``GetMchInfo`` 获取超赢商户基础信息: get basic merchant information.

    Full and short name of a merchant.
    """

    endpoint = Endpoint(
        name="GetMchInfo",
        title="获取超赢商户基础信息",
        family=Family.OPERATION,
        host=Host.API,
        path="/Open/GetMchInfo",
        repeatable=True,
    )
    result_type = GetMchInfoResult
    needed = ("mch_id",)

    mch_id: Text | None = None


@model
class WxaCode2SessionResult(Model):
    """What :class:`WxaCode2Session` brings back: 小程序用户code登录."""

    openid: str | None = None
    session_key: str | None = None
    expires_in: int | None = None
    unionid: str | None = None


@model
class WxaCode2Session(Request[WxaCode2SessionResult]):
    """``WXA_Code2Session`` 小程序用户code登录: log a mini program user in by code.

    The openid and session key behind a mini program's login code. ``session_key`` is a secret (C
    78). The document prints the answer without a signature. A code works once, so this is not
    repeated.
    """

    endpoint = Endpoint(
        name="WXA_Code2Session",
        title="小程序用户code登录",
        family=Family.OPERATION,
        host=Host.API,
        path="/Open/WXA_Code2Session",
        must_sign=False,
    )
    result_type = WxaCode2SessionResult

    appid: Text
    js_code: Text


@model
class WxAddSubDevConfigResult(Model):
    """What :class:`WxAddSubDevConfig` brings back: 超赢商户微信支付配置新增."""


@model
class WxAddSubDevConfig(Request[WxAddSubDevConfigResult]):
    """``wx_addsubdevconfig`` 超赢商户微信支付配置新增: add WeChat payment configuration.

    Bind an app id, payment directories or a recommended account to a merchant (only adds; C 75:
    pass the fields as the gateway's support says). ``jsapi_path``: absolute addresses, separated
    by semicolons.
    """

    endpoint = Endpoint(
        name="wx_addsubdevconfig",
        title="超赢商户微信支付配置新增",
        family=Family.SETTING,
        host=Host.API,
        path="/open/wx_addsubdevconfig",
    )
    result_type = WxAddSubDevConfigResult
    needed = ("mch_id",)
    checks = (at_most_one("subscribe_appid", "receipt_appid"),)  # C 74

    mch_id: Text | None = None
    appid: Text | None = None
    jsapi_path: UrlList | None = None
    subscribe_appid: Text | None = None
    receipt_appid: Text | None = None
