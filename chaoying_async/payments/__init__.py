"""Takes payments and refunds to an honest end: paid, failed, cancelled, or unknown for a person.

- ``checkout``: ``checkout``, which pays once, asks, cancels in time, and says what is true.
- ``resume``: ``resume``, which takes up the payments that a dead process left.
- ``running``: what both do between the pay call and the end.
- ``refunds``: ``refund_and_track`` and ``resume_refunds``, a refund until its status is final.
- ``outcome``: ``CheckoutOutcome`` and ``RefundOutcome``, and what to do about each.
- ``orders``: whether a business order may be charged once more; ``release_order``.
- ``overview``: ``open_attempts`` and ``open_refunds``, what a store holds and how it stands.
- ``claims``: which numbers are in use, so that none is charged twice at a time.
- ``records``: what is written into a store, and when it is forgotten.

What decides is pure and lives in ``sansio.payments``.
"""
