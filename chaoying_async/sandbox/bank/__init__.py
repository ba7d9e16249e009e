"""The books of the gateway, and every rule about the money in them, without I/O, clock or dice.

- ``ledger``: carries out one request, or lets time pass: ``(ledger, request, now) -> Step``.
- ``admission``: decides whether a request may reach the books.
- ``order_life``: pay, facepay, pre-orders, orderquery and cancel.
- ``refund_life``: refund and refundquery.
- ``merchants``: onboarding, logins, and what a merchant is.
- ``services``: face credentials, buyer ids, mini-program sessions and terminals.
- ``scenarios``: which course a payment or a refund takes, by its amount or its payment code.
- ``reply_fields``: the fields of every answer and notification about an order.
- ``entities``: the values that the books hold, and what a step of the ledger gives.
- ``table``: the immutable mapping that the ledger is made of.
"""
