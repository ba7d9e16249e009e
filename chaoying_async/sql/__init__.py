"""What the inbox and the poll store in a SQL database share.

``addresses``     addresses that are certain, and what is shown of them
``modes``         drivers that commit in a way of their own
``transactions``  connections that go back to their pool without a transaction, or not at all
"""
