"""What a payment decides: pay, ask, cancel, and say how it ended (M-24).

- ``cancels``: what the cancels that were sent can mean.
- ``hearing``: what a reply tells about an order.
- ``intent``: what is written down before money moves.
- ``machine``: the next move of a payment.
- ``moves``: the moves, and the ways a payment can end.
- ``order_numbers``: numbers for the attempts of one business order.
- ``refunded_order``: how much of an order was given back.
"""
