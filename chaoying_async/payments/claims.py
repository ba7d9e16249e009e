"""Keeps one order from being charged, or refunded, twice at a time: which numbers are in use.

A registry belongs to a gateway or a store that somebody opened, and goes with it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from weakref import WeakKeyDictionary

from chaoying_async.exceptions import AttemptInProgressError

#: How many ended attempts are remembered; the store, where there is one, remembers all.
REMEMBERED = 100_000

#: What is claimed: a number or a business order of a merchant.
Key = tuple[str, str]
_REFUNDS = "out_refund_no of"


def number_key(mch_id: str, out_trade_no: str) -> Key:
    """The key of a payment's number."""
    return (f"out_trade_no of {mch_id}", out_trade_no)


def order_key(mch_id: str, order_no: str) -> Key:
    """The key of a business order."""
    return (f"order of {mch_id}", order_no)


def refund_key(mch_id: str, out_refund_no: str) -> Key:
    """The key of a refund's number."""
    return (f"{_REFUNDS} {mch_id}", out_refund_no)


class ClaimRegistry:
    """What is claimed of one gateway or store; not for several event loops at once."""

    def __init__(self) -> None:
        self._running: set[Key] = set()
        #: What ended and must not be sent again, and how it ended.
        self._barred: OrderedDict[Key, str] = OrderedDict()

    def claim(self, keys: Iterable[Key], *, again: bool = False) -> None:
        """Take all keys, or none and :class:`AttemptInProgressError`.

        ``again``: what ended undecided or paid may be taken up, to be asked about.
        """
        for key in keys:
            if key in self._running:
                raise AttemptInProgressError(_at_work(key))
            if not again and (how := self._barred.get(key)) is not None:
                raise AttemptInProgressError(f"an attempt of {key[1]} {how}")
        self._running.update(keys)

    def release(self, keys: Iterable[Key]) -> None:
        """Give keys back as if they had never been taken: nothing was sent."""
        self._running.difference_update(keys)

    def settle(self, keys: Iterable[Key], barred: Iterable[Key], how: str) -> None:
        """Give keys back after an end; those in ``barred`` are not to be charged again."""
        self._running.difference_update(keys)
        for key in keys:
            self._barred.pop(key, None)
        self._barred.update(dict.fromkeys(barred, how))
        while len(self._barred) > REMEMBERED:
            self._barred.popitem(last=False)

    def free(self, key: Key) -> None:
        """Allow another attempt: a person found out that this one was not paid."""
        self._barred.pop(key, None)

    def tried(self, key: Key) -> bool:
        """Whether this number was sent before, in this process."""
        return key in self._barred

    def runs(self, key: Key) -> bool:
        """Whether this number is under way in this process."""
        return key in self._running


def _at_work(key: Key) -> str:
    if key[0].startswith(_REFUNDS):
        return f"the refund {key[1]} is at work: wait for its outcome; do not refund again"
    return (
        f"another attempt of {key[1]} is at work: wait for its outcome; do not charge again, and "
        "do not deliver before it is PAID"
    )


_REGISTRIES: WeakKeyDictionary[object, ClaimRegistry] = WeakKeyDictionary()
#: For owners that cannot be referred to weakly: they share one registry, which is safe.
_OTHERS = ClaimRegistry()


def registry_of(owner: object) -> ClaimRegistry:
    """The registry of a gateway or a store."""
    try:
        return _REGISTRIES.setdefault(owner, ClaimRegistry())
    except TypeError:
        return _OTHERS


def remember(owner: object, earlier: object) -> None:
    """Let a gateway keep what an earlier one knew, whose event loop is over."""
    _REGISTRIES[owner] = registry_of(earlier)


class NumberClaim:
    """What one checkout or refund has taken, in every registry that is concerned."""

    def __init__(self, owners: Iterable[object], keys: tuple[Key, ...], *, again: bool) -> None:
        self.keys = keys
        self._registries: list[ClaimRegistry] = []
        for registry in dict.fromkeys(map(registry_of, owners)):
            try:
                registry.claim(keys, again=again)
            except AttemptInProgressError:
                self.release()
                raise
            self._registries.append(registry)

    def release(self) -> None:
        """See :meth:`ClaimRegistry.release`."""
        for registry in self._registries:
            registry.release(self.keys)

    def settle(self, barred: Iterable[Key], how: str) -> None:
        """See :meth:`ClaimRegistry.settle`."""
        for registry in self._registries:
            registry.settle(self.keys, barred, how)
