"""Work that one thread hands to an event loop in another, and waits for."""

from __future__ import annotations

from contextvars import Context, copy_context

#: A trace of OpenTelemetry's, and what structlog adds to each line. What else a framework keeps in
#: context variables is the request's, which may end before the work does: its database session,
#: the one thread in which Django lets its synchronous code run.
_FOLLOWS = ("current_context", "structlog_")


def context_for_a_loop() -> Context:
    """A context for the work: nothing of the caller's but what only says where it came from."""
    context = Context()
    for variable, value in copy_context().items():
        if variable.name.startswith(_FOLLOWS):
            context.run(variable.set, value)
    return context
