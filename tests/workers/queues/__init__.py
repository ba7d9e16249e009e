"""Queues with their real brokers and worker processes, for ``tests/workers/test_queue_*.py``."""
