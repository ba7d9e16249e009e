"""What a notification decides: whose it is, what it says, and what to do (M-13 to M-20).

- ``case``: one message and the order that it is about.
- ``decide``: the decisions, and what they need to know.
- ``facts``: what a message says, as it is kept.
- ``inbox_values``: what an inbox keeps of an order.
- ``judging``: the table of M-15.
- ``message``: a verified notification.
"""
