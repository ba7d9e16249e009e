"""What the inbox and the poll store in a SQL database share.

``transactions``  connections that go back to their pool without a transaction, or not at all
"""
