"""What coverage is measured on: tests that reach something which the others do not.

Measuring takes half as long again, and three times as long in code that only decides.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parent

#: What is killed, hammered or run as a user would run it, what only reads the code, and what goes
#: the same ways again and again (cancelled at every await, fed with random values, cut off at every
#: byte, every row of a product). So does whatever is marked `slow`.
UNMEASURED = (
    "hard",
    "examples",
    "house",
    "fuzz",
    "cli/test_broken_output.py",
    "web/test_broken_bodies.py",
    "web/test_odd_clients.py",
    "web/test_owners.py",
    "sandbox/test_client_suite.py",
    "inbox/test_bounds.py",
    "inbox/test_redis_cancelled.py",
    "inbox/test_sql_cancelled.py",
    "sql/test_commits_that_fail.py",
    "sql/test_small_pools.py",
    "session/test_secrets_in_fields.py::test_no_walker_finds_a_secret",
    "pure/test_decisions.py::test_every_case_is_decided_by_the_rules",
    "pure/test_doctor.py::test_numbers_of_any_length_and_half_json_are_no_trouble",
    "pure/test_doctor.py::test_the_key_shows_nowhere_even_when_the_message_holds_it",
    "pure/test_outcome.py::test_every_answer_means_what_the_rules_say",
    "pure/test_properties.py",
    "pure/test_values.py",
)

#: These are slow and reach what nothing else does.
SLOW_AND_MEASURED = (
    "testing/test_simulate.py::test_a_handler_of_ones_own_is_held_against_the_gateways_books",
    "testing/test_simulation.py::test_a_campaign_ends_with_the_story_of_what_it_found",
    "testing/test_simulation.py::test_no_rule_is_broken_in_the_first_seeds",
    "workers/test_fleet_payments.py::test_what_is_paid_at_once_is_returned_and_told",
    "workers/test_fleet_payments.py::test_two_processes_charge_one_order_once",
    "workers/test_fleet_payments.py::test_a_refund_is_seen_to_its_end",
    "workers/test_fleet_payments.py::test_a_refund_that_is_refused_for_certain_raises_and_is_told_to_nobody",
    "workers/test_fleet_payments.py::test_a_sender_that_dies_at_any_step_leaves_no_payment_without_an_end",
)


def is_measured(item: pytest.Item) -> bool:
    path = item.path.relative_to(TESTS).as_posix()
    test = f"{path}::{getattr(item, 'originalname', item.name)}"
    if {path.partition("/")[0], path, test} & {*UNMEASURED}:
        return False
    return test in SLOW_AND_MEASURED or item.get_closest_marker("slow") is None


class Measuring:
    """Turns coverage off while such a test runs, in the processes that it starts too."""

    def __init__(self) -> None:
        self._stopped: Any = None

    def during(self, item: pytest.Item) -> None:
        # Set by `coverage run`; whoever measures in another way wants all of it.
        if self._stopped is None and "COVERAGE_PROCESS_CONFIG" not in os.environ:
            return
        if is_measured(item):
            self._go_on()
        elif self._stopped is None:
            self._stop()

    def _stop(self) -> None:
        from coverage import Coverage  # where the tools are not installed, there is none

        measuring = Coverage.current()
        if measuring is not None:
            measuring.stop()
            os.environ.pop("COVERAGE_PROCESS_CONFIG", None)  # what processes measure by
            self._stopped = measuring

    def _go_on(self) -> None:
        if self._stopped is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what was imported meanwhile is not news
                self._stopped.start()  # sets the environment again
            self._stopped = None
