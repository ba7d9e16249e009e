"""Every top-level name of the document, and which of them hold something personal.

The ambiguity rule (M-04) needs the first list: a signed value that holds ``&total_fee=`` could be
cut up into another message, so no value may hold ``&``, one of these names and ``=``. The masking
of logs, reprs and audit records needs the second (M-27).
"""

from __future__ import annotations

#: Names in a table of the document: parameters, reply fields, envelopes and both notifications.
DOCUMENTED = frozenset(
    """
    FullName ShortName agent_id appid attach auth_code authinfo bank_type base_fee
    base_refund_fee base_refund_fee_summary body buyer_id buyer_logon_id buyer_user_id
    channel_mch_id code code_img_url code_url coupon_fee coupon_refund_fee device_id device_info
    expires_in face_code fee_type fund_bill_list goods_detail goods_tag invoice_amount is_minipg
    is_subscribe js_code jsapi_path limit_pay mch_create_ip mch_full_name mch_id mch_short_name
    mch_state mch_trade_code method mobile msg nonce_str notify_url op_device_id op_shop_id
    op_user_id openid out_refund_no out_trade_no out_transaction_id partner_list password
    pay_info pay_result pay_url paytype pid product_id profit_sharing profit_sharing_receiver
    promotion_detail rawdata receipt_appid refund_channel refund_count refund_fee
    refund_fee_summary refund_id refund_list result_code services session_key sign state
    store_id store_name sub_appid sub_is_subscribe sub_mch_id sub_openid subscribe_appid
    time_end time_expire time_start token_id total_fee trade_state trade_type transaction_id
    unionid username valid version wx_mch_id wx_sub_mch_id
    """.split()  # noqa: SIM905 - a page of names reads better than a page of quotes
)

#: Names that only an example shows (C 57), and the terminal parameter of M-05.
SHOWN = frozenset({"gmt_create", "key1", "key2", "code_number"})

#: Names that no signed value may hold between ``&`` and ``=`` (M-04).
TOP_LEVEL = DOCUMENTED | SHOWN | {"key"}

#: Fields whose values never reach a repr, a log line, an error text or an audit record (M-27).
SECRET = frozenset(
    """
    auth_code face_code rawdata authinfo js_code session_key unionid openid sub_openid buyer_id
    buyer_user_id buyer_logon_id mobile username password valid pay_info token_id
    """.split()  # noqa: SIM905 - a page of names reads better than a page of quotes
)

#: A shorter secret is not searched for in texts: blotting out every "12" would hide everything.
SHORTEST_SEARCHED = 4
