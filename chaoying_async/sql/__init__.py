"""What the inbox and the poll store in a SQL database share.

- ``address_options``: what stands behind an address's question mark, driver by driver.
- ``addresses``: where a database is: read in one way only, shown without anything secret.
- ``batching``: what comes while a write is under way is written together.
- ``columns``: columns and table options that mean the same in every database.
- ``creation``: which tables are there, and making those that are missing.
- ``dialects``: what differs between databases: their clock, their INSERTs, their errors.
- ``engines``: engines made for an address, and the engines that are refused.
- ``loops``: what belongs to one event loop: locks, and a pool's connections.
- ``many``: one statement for many rows, in as few round trips as the driver allows.
- ``transactions``: transactions that are begun and ended as they should be, and never left open.
- ``turns``: how many connections a process uses at a time, and for how long at most.
"""
