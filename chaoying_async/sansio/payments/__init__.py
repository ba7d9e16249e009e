"""What a payment decides: pay, ask, cancel, and say how it ended (M-24).

- ``hearing``: what the answers to pay and cancel mean.
- ``intent``: what is written down before money moves.
- ``machine``: the next move of a payment.
- ``moves``: the moves, what became of cancels, and the ways a payment can end.
- ``order_numbers``: numbers for the attempts of one business order.
- ``refunds``: whether a refund may be sent again, and the refund that an order suggests.
- ``wallets``: under which wallet an order is asked about, while nobody knows its wallet.
"""
