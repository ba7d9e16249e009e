"""Work that one thread hands to an event loop in another, and waits for."""

from __future__ import annotations

from contextvars import Context, copy_context

#: How asgiref finds the one thread in which a request's synchronous code may run (Django). That
#: thread is the one that waits here, so work that looked for it would wait for itself.
_ASGIREF = (
    "asgiref.",
    "async_single_thread_context",
    "deadlock_context",
    "thread_sensitive_context",
)


def context_for_a_loop() -> Context:
    """The caller's context variables, a trace's among them, but for what means its own thread."""
    context = Context()
    for variable, value in copy_context().items():
        if not variable.name.startswith(_ASGIREF):
            context.run(variable.set, value)
    return context
