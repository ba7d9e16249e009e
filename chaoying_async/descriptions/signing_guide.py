"""How a message is signed, in words, with an example that somebody's own code can be tried on."""

from __future__ import annotations

from chaoying_async.sansio.signing import canonical_string, sign

_KEY = "0123456789abcdef0123456789abcdef"
_FIELDS = {
    "agent_id": "13000000000000000",
    "pid": "my-shop",
    "version": "1.0",
    "method": "orderquery",
    "paytype": "WECHAT",
    "mch_id": "00000001",
    "out_trade_no": "A1000101",
}

_GUIDE = """\
**Signing (签名).** Every request carries `sign`, and so does what the gateway sends:

1. take all fields that are not empty, but `sign`, as the decoded texts (not percent-encoded);
2. sort them by name in ASCII order, and join them as `name=value` with `&`;
3. add `&key=` and the key, take the MD5 of it in UTF-8, and write it in upper-case hex.

Verify a reply and a notification in the same way, over **every** field that arrived, unknown ones
too, before you believe any of them. JSON numbers enter as their source text. No description can
sign for you: a generated client needs this step from you.

To try your code on: these fields, in a form sorted by name,

    {text}

give under the key `{key}` the sign

    {sign}

将所有非空参数（不含 sign）按参数名 ASCII 码从小到大排序，拼成 `a=1&b=2`，末尾加上 `&key=` 和密钥，
按 UTF-8 取 MD5，十六进制大写。取解码后的原文，不做 URL 编码。
验签时须包含收到的全部字段，未知字段也要参与。
"""


def signing_guide() -> str:
    """The guide, in Markdown; its example is signed by the code that signs for the library."""
    return _GUIDE.format(text=canonical_string(_FIELDS), key=_KEY, sign=sign(_FIELDS, _KEY))
