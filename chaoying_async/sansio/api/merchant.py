"""运维管理: merchants, their numbers and settings, and mini program logins."""

from __future__ import annotations

import attrs

from chaoying_async.sansio.api.combined_rules import AtMostOne, CompletePair, ShouldListAtMost
from chaoying_async.sansio.api.details import Partner
from chaoying_async.sansio.api.endpoint import Endpoint, Host, Request
from chaoying_async.sansio.api.field_rules import (
    AppId,
    Identifier,
    Text,
    UrlList,
)
from chaoying_async.sansio.enums import MchState
from chaoying_async.sansio.meaning import Family
from chaoying_async.sansio.model import Model, model


@model
class MchRegResult(Model):
    """What :class:`MchReg` brings back: 注册超赢虚拟商户."""

    mch_id: str | None = None
    """The Chaoying merchant number.（超赢商户号）"""
    nonce_str: str | None = None
    """A random string.（随机字符串）"""


@model
class MchReg(Request[MchRegResult]):
    """``Mch_Reg`` 注册超赢虚拟商户: register a virtual merchant.

    Registers a merchant. Every business parameter is undocumented and handed out by the gateway's
    support: pass them as ``extra``. The session does not repeat the call, since it changes
    something.
    """

    endpoint = Endpoint(
        name="Mch_Reg",
        title="注册超赢虚拟商户",
        family=Family.OPERATION,
        host=Host.API,
        path="/UnifiedPay/Mch_Reg",
    )
    result_type = MchRegResult
    # By these names other calls describe a merchant: support may ask for them here.
    extra_takes = frozenset(
        {"FullName", "ShortName", "mch_full_name", "mch_short_name"}
        | {"mobile", "password", "services", "username"}
    )


@model
class GetMchSmsValidResult(Model):
    """What :class:`GetMchSmsValid` brings back: 下发获取超赢商户号验证短信."""

    valid_minutes: int | None = attrs.field(default=None, metadata={"wire": "code"})
    """Lifetime of the SMS code in minutes; it travels as ``code`` and is no status (C 26).
    （验证码有效时长，单位分钟，以 code 字段返回，不是状态码）
    """


@model
class GetMchSmsValid(Request[GetMchSmsValidResult]):
    """``GetMchSMSValid`` 下发获取超赢商户号验证短信: send the SMS code for GetMchId.

    Sends the SMS code that :class:`GetMchId` takes. ``valid_minutes`` of the result is its lifetime
    in minutes; it travels as ``code`` and is no status (C 26). The session does not repeat the
    call, since every call sends a message.
    """

    endpoint = Endpoint(
        name="GetMchSMSValid",
        title="下发获取超赢商户号验证短信",
        family=Family.SMS,
        host=Host.API,
        path="/Mch/GetMchSMSValid",
    )
    result_type = GetMchSmsValidResult

    mobile: Identifier
    """The merchant's mobile phone number.（手机号）"""


@model
class GetMchIdResult(Model):
    """What :class:`GetMchId` brings back: 获取超赢商户号."""

    mch_id: str | None = None
    """The Chaoying merchant number.（超赢商户号）"""
    mch_trade_code: str | None = None
    """The merchant's trade code; case counts.（商户交易码，大小写敏感）"""
    mch_full_name: str | None = None
    """The merchant's full name.（商户全称）"""
    mch_short_name: str | None = None
    """The merchant's short name.（商户简称）"""
    mch_state: MchState | str | None = None
    """Whether the merchant is awaiting review, enabled or disabled.
    （商户状态：0 待审核、20 启用、30 停用）
    """


@model
class GetMchId(Request[GetMchIdResult]):
    """``GetMchId`` 获取超赢商户号: get the merchant number.

    Looks up the merchant number behind ``mobile`` and ``valid`` (the SMS code), or behind
    ``username`` and ``password``. One complete pair is needed (C 79). Both secrets travel as plain
    text inside TLS. The call is safe to repeat.
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
    checks = (CompletePair((("mobile", "valid"), ("username", "password"))),)

    mobile: Identifier | None = None
    """The merchant's mobile phone number; goes with ``valid``.（手机号，与短信验证码一起）"""
    valid: Identifier | None = None
    """The code from the text message that :class:`GetMchSmsValid` sends; goes with ``mobile``, and
    is a secret.
    （短信验证码，与手机号一起，须保密）
    """
    username: Identifier | None = None
    """The merchant's user name; goes with ``password``.（用户名，与用户密码一起）"""
    password: Text | None = None
    """The merchant's password; goes with ``username``, and travels as plain text inside TLS (C 79).
    （用户密码，与用户名一起，在 TLS 内以明文传送）
    """


@model
class GetPartnerIdResult(Model):
    """What :class:`GetPartnerId` brings back: 获取超赢商户微信子商户号."""

    mch_id: str | None = None
    """The Chaoying merchant number.（超赢商户号）"""
    partner_list: tuple[Partner, ...] | None = None
    """The merchant's WeChat sub-merchants, one for each channel.（超赢商户微信子商户信息列表）"""


@model
class GetPartnerId(Request[GetPartnerIdResult]):
    """``GetPartnerId`` 获取超赢商户微信子商户号: get the WeChat sub-merchant numbers of a merchant.

    Lists the WeChat sub-merchant numbers of a merchant, one for each channel.
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

    mch_id: Identifier | None = None
    """The Chaoying merchant number. If it is left out, the session's is sent (on the command line:
    CHAOYING_MCH_ID).
    （超赢商户号）
    """


@model
class GetMchInfoResult(Model):
    """What :class:`GetMchInfo` brings back: 获取超赢商户基础信息."""

    mch_id: str | None = None
    """The Chaoying merchant number.（超赢商户号）"""
    FullName: str | None = None
    """The merchant's full name.（商户全称）"""
    ShortName: str | None = None
    """The merchant's short name.（商户简称）"""


@model
class GetMchInfo(Request[GetMchInfoResult]):
    """``GetMchInfo`` 获取超赢商户基础信息: get basic merchant information.

    Looks up the full and the short name of a merchant.
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

    mch_id: Identifier | None = None
    """The Chaoying merchant number. If it is left out, the session's is sent (on the command line:
    CHAOYING_MCH_ID).
    （超赢商户号）
    """


@model
class WxaCode2SessionResult(Model):
    """What :class:`WxaCode2Session` brings back: 小程序用户code登录."""

    openid: str | None = None
    """The user, under the mini program's AppId.（用户唯一标识）"""
    session_key: str | None = None
    """The key of the user's session; a secret (C 78).（会话密钥，须保密）"""
    expires_in: int | None = None
    """How long the session lasts; the document names no unit, its example (7200) looks like seconds
    (C 78).
    （有效期，文档未注明单位，示例 7200 应为秒）
    """
    unionid: str | None = None
    """The user across the apps of one open-platform account, where WeChat gives it out.
    （用户在开放平台的唯一标识符，满足 UnionID 下发条件时返回）
    """


@model
class WxaCode2Session(Request[WxaCode2SessionResult]):
    """``WXA_Code2Session`` 小程序用户code登录: log a mini program user in by code.

    Exchanges a mini program's login code for the user's openid and session key. The document prints
    the answer without a signature. A code works once, so the session does not repeat the call.
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

    appid: Identifier
    """The AppId of the mini program.（小程序 appid）"""
    js_code: Identifier
    """The code of one login in the mini program; it works once.（登录时获取的 code，只能用一次）"""


@model
class WxAddSubDevConfigResult(Model):
    """What :class:`WxAddSubDevConfig` brings back: 超赢商户微信支付配置新增."""


@model
class WxAddSubDevConfig(Request[WxAddSubDevConfigResult]):
    """``wx_addsubdevconfig`` 超赢商户微信支付配置新增: add WeChat payment configuration.

    Binds an app id, payment directories or a recommended account to a merchant. The call only
    adds: what is wrong, the gateway's support has to delete. A merchant has two directories, two
    paying accounts and two recommendations at most; each app id recommends one account, and what
    is recommended cannot be changed for 30 days. The document contradicts itself about the fields,
    so pass them as the gateway's support says (C 75).
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
    checks = (AtMostOne(("subscribe_appid", "receipt_appid")),)  # C 74
    advice = (
        ShouldListAtMost("jsapi_path", 2, "names more than the two that a merchant may have"),
    )

    mch_id: Identifier | None = None
    """The Chaoying merchant number. If it is left out, the session's is sent (on the command line:
    CHAOYING_MCH_ID).
    （超赢商户号）
    """
    appid: AppId | None = None
    """The AppId that is paid under, one with each call: an official account, a mini program or an
    app.
    （支付的公众号、小程序或 APP 的 APPID，每次一个）
    """
    jsapi_path: UrlList | None = None
    """The JSAPI payment directories: absolute addresses, separated by ASCII semicolons; a merchant
    has two at most (C 76).
    （JS API 支付授权目录，多个以英文分号分隔，每个商户最多 2 个）
    """
    subscribe_appid: AppId | None = None
    """The official account that customers are recommended to follow, which stays for 30 days; not
    together with ``receipt_appid``.
    （推荐关注的公众号 APPID，每次一个，30 天内不能修改，与 receipt_appid 二选一）
    """
    receipt_appid: AppId | None = None
    """The mini program that the receipt recommends; not together with ``subscribe_appid``.
    （支付凭证推荐小程序 APPID，每次一个，与 subscribe_appid 二选一）
    """
