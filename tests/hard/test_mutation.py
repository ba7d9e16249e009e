"""The mistakes that ``make mutate`` makes, and that a copy with one of them behaves so."""

from __future__ import annotations

import ast
from pathlib import Path
from types import ModuleType

import pytest

from tests.hard.mutation import mutants, trial

SOURCE = '''
"""Words that no program reads."""

LIMITS = {"pay": 1, "refund": 2}


def too_many(kind: str, count: int) -> bool:
    if kind not in LIMITS:
        raise ValueError(f"{kind} is no kind of {LIMITS!r}", "kind")
    return count > LIMITS[kind]
'''

EXPECTED = [
    "row 'pay' removed",
    "row 'refund' removed",
    "text 'pay' changed",
    "text 'refund' changed",
    "1 -> 2",
    "2 -> 3",
    "if kind not in LIMITS -> if True",
    "if kind not in LIMITS -> if False",
    "kind not in LIMITS -> kind in LIMITS",
    "raise ValueError(f'{kind} is no kind of {LIMITS!r}', 'kind') removed",
    "return count > LIMITS[kind] -> return None",
    "count > LIMITS[kind] -> count >= LIMITS[kind]",
]


def loaded(number: int | None) -> ModuleType:
    module = ModuleType("limits")
    tree = ast.parse(SOURCE) if number is None else mutants.mutated(SOURCE, number)
    exec(compile(tree, "limits.py", "exec"), vars(module))  # noqa: S102 - as it would be imported
    return module


def test_each_mistake_is_made_once_and_none_in_words_for_people() -> None:
    """Tables, comparisons, conditions and what is returned or raised; no docstring, no message."""
    found = mutants.mutants_of(SOURCE)
    assert [each.what for each in found] == EXPECTED
    assert [each.number for each in found] == [*range(len(EXPECTED))]
    assert [each.in_function for each in found] == [False] * 6 + [True] * 6


def test_a_mutant_holds_its_mistake_and_no_other() -> None:
    """The last mistake of the list lets one more be too many, and changes nothing else."""
    right, wrong = loaded(None), loaded(len(EXPECTED) - 1)
    assert (right.too_many("pay", 1), wrong.too_many("pay", 1)) == (False, True)
    assert (right.too_many("pay", 0), wrong.too_many("pay", 0)) == (False, False)


def test_the_code_of_a_function_is_exchanged_wherever_it_is_used(tmp_path: Path) -> None:
    """Whoever has imported a function, or keeps it in a table, meets the mistake."""
    file = tmp_path / "limits.py"
    file.write_text(SOURCE, "utf-8")
    table = {"of too many": loaded(None).too_many}
    last = mutants.mutants_of(SOURCE)[-1]
    assert trial.exchange(table.values(), trial.Trial(str(file), last, ()))
    assert table["of too many"]("pay", 1) is True


def test_a_mistake_in_a_table_needs_the_module_to_be_loaded_anew(tmp_path: Path) -> None:
    """No function's code holds it, so nothing is exchanged, and the trial does not count."""
    file = tmp_path / "limits.py"
    file.write_text(SOURCE, "utf-8")
    first = mutants.mutants_of(SOURCE)[0]
    assert not trial.exchange([loaded(None).too_many], trial.Trial(str(file), first, ()))


def test_a_function_that_the_module_calls_itself_is_loaded_anew() -> None:
    """What it has returned stands in a table already, whatever its code is exchanged for."""
    source = "def limit(text):\n    return [text]\n\n\n"
    for calls, anew in [
        ("LIMITS = [limit('a')]", True),
        ("LIMITS = [*map(limit, 'ab')]", True),
        ("LIMITS = [limit]", False),
        ("def limits():\n    return limit('a')", False),
    ]:
        found = mutants.mutants_of(source + calls)
        assert [each.in_function for each in found if each.line == 2] == [not anew]


@pytest.mark.parametrize(
    ("decorator", "anew"), [("cache", True), ("lru_cache(maxsize=2)", True), ("final", False)]
)
def test_a_function_whose_answers_are_kept_is_loaded_anew(decorator: str, anew: bool) -> None:
    """Only the first test that calls it runs its lines, so others that notice would be left out."""
    found = mutants.mutants_of(f"@{decorator}\ndef limit():\n    return 1\n")
    assert {each.in_function for each in found} == {not anew}
