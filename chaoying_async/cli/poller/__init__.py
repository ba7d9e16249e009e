"""The parts of ``chaoying poller``.

- ``health``: answers on a port whether the process lives, and whether it serves, with its numbers.
- ``leaving``: what a signal does: the shards are handed back, within a time.
- ``status_table``: shows the numbers of a whole fleet.
- ``user_tasks``: finds the user's function or queue, and writes the log of the process.
"""
