"""The parts of ``chaoying explain``: they ask every source about one order, and judge nothing.

- ``gather``: asks all sources, one after the other, and puts together what they told.
- ``gateway_queries``: sends the queries about an order and its refunds; nothing that moves money.
- ``stored_records``: reads what a poll store and a fleet hold of an order, beside their owners.
- ``audit_lines``: reads an audit log line by line, however long its lines are.
- ``standing_exits``: how the command ends, by what was found.
"""
