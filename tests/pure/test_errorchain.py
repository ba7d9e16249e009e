"""From an error to everything that led to it: the nearest first, and nothing of the caller's."""

from __future__ import annotations

from types import SimpleNamespace

from chaoying_async.sansio.errorchain import error_chain


def linked() -> tuple[Exception, list[Exception]]:
    """An error with one more behind each of its links; a link back, and one that is no error."""
    inside = EOFError("in a group")
    causes: list[Exception] = [OSError("orig"), ValueError("cause"), KeyError("context"), inside]
    outer = ExceptionGroup("several", [inside])
    outer.orig, outer.__cause__, outer.__context__ = causes[0], causes[1], causes[2]  # type: ignore[attr-defined]
    causes[1].__cause__ = outer
    causes[2].orig = SimpleNamespace(args=())  # type: ignore[attr-defined]
    return outer, causes


def test_every_link_is_followed_once() -> None:
    """SQLAlchemy's, Python's two, and a group's members; a ring ends."""
    outer, causes = linked()
    assert list(error_chain(outer)) == [outer, *causes]
    deep = LookupError("deep")
    causes[0].__context__ = deep
    assert list(error_chain(outer))[-1] is deep


def test_what_the_caller_was_handling_is_left_out() -> None:
    """And what only it leads to; but it is the beginning, if that is what is asked about."""
    his = KeyError("his")
    his.__context__ = OSError("behind his")
    ours = ValueError("ours")
    ours.__context__ = his
    assert list(error_chain(ours)) == [ours, his, his.__context__]
    assert list(error_chain(ours, handled=his)) == [ours]
    assert list(error_chain(his, handled=his)) == [his, his.__context__]
    assert list(error_chain(None)) == []


class OddError(Exception):
    """An error of somebody's whose links raise when they are looked at."""

    @property
    def orig(self) -> object:
        raise RuntimeError("orig")

    @property
    def __cause__(self) -> BaseException | None:  # type: ignore[override]
        raise RuntimeError("cause")


def test_an_error_whose_links_raise_is_as_one_without_them() -> None:
    """Who asks why a payment failed must not get another error for an answer."""
    odd = OddError("odd")
    odd.__context__ = OSError("behind it")
    assert list(error_chain(odd)) == [odd, odd.__context__]
