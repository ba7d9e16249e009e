"""Under which wallet a payment is asked about while nobody knows which one it is (M-22, M-24)."""

from __future__ import annotations

import pytest

from chaoying_async.sansio.payments.wallets import Wallets

ALL = ("WECHAT", "ALIPAY", "JDPAY", "QQ", "UNIONPAY", "BESTPAY")
OTHERS = ("WECHAT", "JDPAY", "QQ", "UNIONPAY", "BESTPAY")
NOBODY = Wallets(paytype=None, certain=False)
GUESS = Wallets(paytype="ALIPAY", certain=False)
KNOWN = Wallets(paytype="ALIPAY", certain=True)


def missed_by(wallets: Wallets, *paytypes: str, late: bool = True) -> Wallets:
    for paytype in paytypes:
        wallets = wallets.missed(paytype, late=late)
    return wallets


def test_a_wallet_that_is_certain_is_the_only_one() -> None:
    """A guess comes first, and every other one after it in the document's order."""
    assert KNOWN.candidates == ("ALIPAY",)
    assert GUESS.candidates == ("ALIPAY", *OTHERS)
    assert NOBODY.candidates == ALL


def test_certain_that_it_is_none_of_them_is_no_knowledge() -> None:
    """Somebody was sure, and cannot say of what: all are still meant."""
    assert Wallets(paytype=None, certain=True).candidates == ALL


def test_a_wallet_that_nobody_listed_is_asked_too() -> None:
    """Ahead of all that the document has."""
    assert Wallets(paytype="ECNY", certain=False).candidates == ("ECNY", *ALL)


def test_what_is_known_is_asked_about_and_nothing_else() -> None:
    """Whatever came before."""
    wallets = missed_by(KNOWN, "ALIPAY", "ALIPAY", late=False)
    assert {wallets.next_asked(n, late=False) for n in range(12)} == {"ALIPAY"}
    assert KNOWN.next_asked(3, late=True) == "ALIPAY"


def test_without_a_guess_each_wallet_has_its_turn() -> None:
    """In the document's order, round and round."""
    assert [NOBODY.next_asked(n, late=False) for n in range(8)] == [*ALL, "WECHAT", "ALIPAY"]


def test_a_guess_is_asked_until_it_knows_no_such_order() -> None:
    """After that every second time, and one of the others in between, each in its turn."""
    assert {GUESS.next_asked(n, late=False) for n in range(12)} == {"ALIPAY"}
    doubted = GUESS.missed("ALIPAY", late=False)
    asked = [doubted.next_asked(n, late=False) for n in range(12)]
    assert asked[::2] == ["ALIPAY"] * 6
    assert asked[1::2] == [*OTHERS, "WECHAT"]


def test_that_another_wallet_knows_no_order_is_no_doubt_about_the_guess() -> None:
    """Only its own answer is."""
    assert GUESS.missed("QQ", late=False).next_asked(1, late=False) == "ALIPAY"


def test_late_every_wallet_has_to_say_it_once_more() -> None:
    """M-24: the likeliest first; those that have said it late are left alone until all have."""
    wallets, asked = missed_by(GUESS, "ALIPAY", late=False), []
    for attempt in (4, 9, 2, 7, 0, 5):  # whichever it is, as long as one has yet to say it
        asked.append(wallets.next_asked(attempt, late=True))
        wallets = wallets.missed(asked[-1], late=True)
    assert asked == ["ALIPAY", *OTHERS]
    assert wallets.unasked_late == []
    assert [wallets.next_asked(n, late=True) for n in range(7)] == ["ALIPAY", *OTHERS, "ALIPAY"]


def test_an_order_is_absent_when_every_wallet_said_so_twice_and_once_late() -> None:
    """M-06: one that said it once, or only early, leaves it open."""
    twice = missed_by(NOBODY, *ALL, late=False)
    assert not missed_by(twice, *ALL, late=False).all_absent
    assert not missed_by(NOBODY, *ALL).all_absent
    assert not missed_by(twice, *ALL[1:]).all_absent
    assert not missed_by(NOBODY, *ALL[1:], *ALL).all_absent
    assert missed_by(twice, *ALL).all_absent
    assert missed_by(NOBODY, *ALL, *ALL[::-1]).all_absent


@pytest.mark.parametrize("paytype", ALL)
def test_whoever_is_certain_needs_only_the_one(paytype: str) -> None:
    """Twice, and once of it late; what the others say is nothing."""
    wallets = Wallets(paytype=paytype, certain=True)
    others = [each for each in ALL if each != paytype]
    assert not missed_by(wallets, *others, *others).all_absent
    once = wallets.missed(paytype, late=True)
    assert not once.all_absent
    assert once.missed(paytype, late=False).all_absent


def test_news_of_the_order_say_which_wallet_it_is() -> None:
    """And nothing that was counted is forgotten."""
    found = missed_by(GUESS, "ALIPAY", "QQ").found("QQ")
    assert (found.paytype, found.certain) == ("QQ", True)
    assert found.absent == (("ALIPAY", 1), ("QQ", 1))
    assert found.late == {"ALIPAY", "QQ"}


def test_counts_are_kept_by_wallet_in_one_order() -> None:
    """So that two stories of the same answers are equal."""
    one = missed_by(NOBODY, "QQ", "ALIPAY", "QQ", late=False)
    assert one.absent == (("ALIPAY", 1), ("QQ", 2))
    assert one == missed_by(NOBODY, "ALIPAY", "QQ", "QQ", late=False)
    assert one.late == frozenset()
