"""The gateway at work: HTTP, the clock, notifications, faults, and the file it is kept in.

- ``gateway``: answers one request at a time and keeps the current books.
- ``runtime``: the running gateway: requests, time that passes, and notifications.
- ``notifier``: delivers notifications on the document's schedule.
- ``events``: the notifications that can be made to order, true and wrong ones.
- ``faults``: what goes wrong on purpose, how often, and with which seed.
- ``catalogue``: the list of everything that can be made to happen.
- ``sandbox_file``: the SQLite file that keeps the books and what happened lately.
- ``masked``: what may be shown and kept of a message.
- ``sandbox_app``: the ASGI application of the gateway, its control endpoints and its console.
- ``control_api``: the endpoints below ``/_sandbox/``, for whoever runs the sandbox.
- ``description_pages``: the machine-readable descriptions of all calls and notifications.
- ``exports``: the environment variables with which a program uses it.
- ``security``: who may use the console and the control endpoints.
- ``server``: serves an ASGI application on a port of this machine.
- ``connections``: bounds every wait of uvicorn for the other side of a connection.
- ``bodies``: reads the body of a request within bounds of size and time.
"""
