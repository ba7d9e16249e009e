"""What waiting for an order's end decides: when to ask, and what an answer means.

- ``pacing``: how many queries may leave a second, and when a failing gateway is left alone.
- ``record``: the texts that a store keeps of what is waited for, and of how it ended.
- ``schedule``: when the next query is due.
- ``status``: what an answer says about an order.
"""
