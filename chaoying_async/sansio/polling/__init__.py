"""What waiting for an order's end decides: when to ask, and what an answer means.

- ``ends``: how an order's end is written down.
- ``pacing``: how many queries may leave a second, and when a failing gateway is left alone.
- ``record``: what is waited for, as a text that survives the process.
- ``schedule``: when the next query is due.
- ``status``: what an answer says about an order.
"""
