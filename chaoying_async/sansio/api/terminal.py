"""运维管理, 支付终端: how a payment terminal learns whose it is."""

from __future__ import annotations

from typing import Final

import attrs

from chaoying_async.sansio.api.endpoint import Endpoint, Host, Request
from chaoying_async.sansio.api.field_rules import Identifier, is_absent
from chaoying_async.sansio.enums import MchState
from chaoying_async.sansio.meaning import Family
from chaoying_async.sansio.model import Model, model

#: What terminals must send as ``User-Agent``; their default ``pid``, too (C 94).
TERMINAL: Final = "CySoftPayBox"


def _or_the_terminals(pid: str) -> str:
    return TERMINAL if is_absent(pid) else pid


@model
class _TerminalConfig(Model):
    """What both calls bring back: whose the terminal is."""

    mch_id: str
    """The Chaoying merchant number.（超赢商户号）"""
    mch_trade_code: str
    """The merchant's trade code; case counts.（商户交易码，大小写敏感）"""
    mch_full_name: str | None = None
    """The merchant's full name.（商户全称）"""
    mch_short_name: str | None = None
    """The merchant's short name.（商户简称）"""
    mch_state: MchState | str | None = None
    """Whether the merchant is awaiting review, enabled or disabled.
    （商户状态：0 待审核、20 启用、30 停用）
    """
    device_info: str | None = None
    """The kind of terminal, as the request named it.（设备信息）"""
    op_device_id: str | None = None
    """The unique number of the device.（设备唯一编号）"""


@model
class PayBoxConfGetResult(_TerminalConfig):
    """What :class:`PayBoxConfGet` brings back: 支付终端轮询商户配置."""


@model
class PayBoxConfGet(Request[PayBoxConfGetResult]):
    """``PayBoxConfGet`` 支付终端轮询商户配置: terminal polls its merchant configuration.

    Asks for the merchant of this terminal. While there is none, ``unwrap()`` raises a
    :class:`~chaoying_async.exceptions.NotConfiguredYetError`: ask again after 5 seconds (C 27). The
    call is a GET whose parameters travel in the query.
    """

    endpoint = Endpoint(
        name="PayBoxConfGet",
        title="支付终端轮询商户配置",
        family=Family.TERMINAL,
        host=Host.API,
        path="/Mch/PayBoxConfGet",
        http_method="GET",
        headers=(("User-Agent", TERMINAL),),
        repeatable=True,
    )
    result_type = PayBoxConfGetResult
    needed = ("device_info",)

    pid: Identifier = attrs.field(default=TERMINAL, converter=_or_the_terminals)
    """The product name; by default the terminals' own, in place of the agent's (C 94).
    （调用方产品名称，默认为终端自己的名称）
    """
    device_info: Identifier | None = None
    """The kind of terminal. If it is left out, the session's is sent (the command line has none).
    （设备信息）
    """
    op_device_id: Identifier
    """The unique number of the device.（设备唯一编号）"""


@model
class QrConfGetResult(_TerminalConfig):
    """What :class:`QrConfGet` brings back: 支付终端扫描商户二维码获取配置."""


@model
class QrConfGet(Request[QrConfGetResult]):
    """``QrConfGet`` 支付终端扫描商户二维码获取配置: configuration from a scanned QR code.

    Reads a terminal's configuration from the link in a merchant's QR code. Anybody can print a QR
    code, so ``url`` must be on ``Hosts.scanned``, under ``/qrpay/``, and may carry only
    ``op_shop_id``, ``op_user_id``, ``code_number`` and the names in ``allow`` (M-05); ``send``
    refuses everything else.
    """

    endpoint = Endpoint(
        name="QrConfGet",
        title="支付终端扫描商户二维码获取配置",
        family=Family.TERMINAL,
        host=Host.SCANNED,
        http_method="GET",
        headers=(("User-Agent", TERMINAL),),
        repeatable=True,
    )
    result_type = QrConfGetResult
    needed = ("device_info",)
    not_sent = frozenset({"extra", "url", "allow", "code_number_from_path"})

    url: str
    """The link in the merchant's QR code. It is signed and fetched, so only ``Hosts.scanned`` may
    be named (M-05).
    （商户二维码中的链接）
    """
    allow: tuple[str, ...] = attrs.field(default=(), converter=tuple)
    """Further names that the link's query may hold (M-05).（链接中另外允许的参数名）"""
    code_number_from_path: bool = False
    """Whether the link's last path segment is signed as ``code_number``, as since 2022-03-24 (C
    97).
    （是否把链接路径的最后一段作为 code_number 签名）
    """
    pid: Identifier = attrs.field(default=TERMINAL, converter=_or_the_terminals)
    """The product name; by default the terminals' own, in place of the agent's (C 94).
    （调用方产品名称，默认为终端自己的名称）
    """
    device_info: Identifier | None = None
    """The kind of terminal. If it is left out, the session's is sent (the command line has none).
    （设备信息）
    """
    op_device_id: Identifier
    """The unique number of the device.（设备唯一编号）"""
