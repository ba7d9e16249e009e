"""Work that one thread hands to an event loop in another, and waits for."""

from __future__ import annotations

import asyncio
import sys
from contextvars import Context, copy_context

#: A trace of OpenTelemetry's, and what structlog adds to each line. What else a framework keeps in
#: context variables is the request's, which may end before the work does: its database session,
#: the one thread in which Django lets its synchronous code run.
_FOLLOWS = ("current_context", "structlog_")

NO_THREADS = (
    "gevent or eventlet has replaced the threads of this process, and all of them share one event"
    " loop: serve with real threads, as `gunicorn -k gthread` does"
)


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop of this thread; None where none runs."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def threads_are_greenlets() -> bool:
    """Whether a thread that is started now is none, so that no second event loop can run."""
    gevent, eventlet = sys.modules.get("gevent.monkey"), sys.modules.get("eventlet.patcher")
    patched = gevent is not None and gevent.is_module_patched("threading")
    return bool(patched or (eventlet is not None and eventlet.is_monkey_patched("thread")))


def context_for_a_loop() -> Context:
    """A context for the work: nothing of the caller's but what only says where it came from."""
    context = Context()
    for variable, value in copy_context().items():
        if variable.name.startswith(_FOLLOWS):
            context.run(variable.set, value)
    return context
