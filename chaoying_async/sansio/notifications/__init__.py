"""What a notification decides: whose it is, what it says, and what to do (M-13 to M-20).

- ``callback_health``: whether a merchant's callbacks come.
- ``case``: what is known beside a message (the shop's order, the record), and the order it makes.
- ``decide``: the table of M-15: what to do about a message, and why.
- ``facts``: what a message says of an order, however it came, and how it is kept.
- ``inbox_values``: what an inbox keeps: orders, and messages that were set aside.
- ``message``: a notification as a typed value, with every field that the document names.
- ``reading``: from a body to verified facts: is it right, and what does it say of the payment.
- ``unreadable``: what becomes of a record that nothing can be made of.
"""
