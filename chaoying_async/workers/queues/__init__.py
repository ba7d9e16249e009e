"""Queues that deliver outcomes into the user's own tasks.

- ``celery``: outcomes as messages to Celery's tasks, sent after the commit.
- ``payloads``: outcomes as they travel: JSON, and nothing that only Python knows.
- ``pgqueuer``: outcomes as jobs of PgQueuer, enqueued in the transaction that records them.
- ``protocol``: what the fleet asks of a queue.
"""
