"""Payments and refunds to an honest end: paid, failed, cancelled, or handed to a person as unknown.

- :func:`checkout` pays, asks, cancels in time, and says what is true; :func:`resume` takes up what
  a dead process left.
- :class:`OrderNumbers` numbers the attempts of one business order.
- :func:`open_attempts` and :func:`open_refunds` show what a store holds of them.
- :func:`refund_and_track` sends a refund once and waits for its end; :func:`resume_refunds`.

What decides is pure and lives in ``sansio``: ``till`` and its words ``tillmoves``,
``tillnews``, ``tillcancels``, ``intents``, ``ordernumbers``.
"""
