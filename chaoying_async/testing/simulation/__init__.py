"""A whole world from one integer: the library, a shop, its files, its gateway, and what goes wrong.

Everything in it is real (session, poller, checkout, refunds, handler, inbox, store, SQLite) but
time, the network, the processes and the gateway. The same seed gives the same story, to the byte.
It needs the extras ``[testing,sql]``::

    python -m chaoying_async.testing.simulation --seconds 120
    python -m chaoying_async.testing.simulation --seed 4711 --trace

- ``blank_files``: the files of a world before anything happened in it.
- ``campaign``: many seeds one after the other, and the command line.
- ``changes``: keys that are rotated, clocks that jump, processes that are replaced.
- ``checks``: what must hold in every world, each check named by its money rule.
- ``computer``: starts the shop's processes, strikes and replaces them, and has their clocks.
- ``corner_shop``: the shop's tables, and the functions that it gives the handler.
- ``far_side``: the gateway: the sandbox's books, and how it notifies the shop.
- ``fleet_checks``: what must hold where the shop has a fleet, besides.
- ``fleet_program``: what each process runs where a fleet sees the orders to their end.
- ``fleet_weather``: in which worlds there is a fleet, and what goes wrong with it.
- ``front_door``: where a process takes notifications: a handler, or a user's web app.
- ``inline_sqlite``: SQLite without a thread but with its latency, its locks and its troubles.
- ``key_ring``: the agent's keys: who signs with which, and whom each process believes.
- ``log_lines``: hears what is logged while a world happens.
- ``loop``: the event loop: virtual time, no threads, every choice by the dice.
- ``network``: the wire between shop and gateway, and what can happen on it.
- ``outages``: in which worlds a process loses its network, and for how long.
- ``process``: processes that are killed, stopped, resumed, and whose tasks are cancelled.
- ``sales``: the customers: who buys what, and how their payment goes.
- ``shop_program``: what each of the shop's processes runs: it sells, polls, refunds, is notified.
- ``shrink``: takes away what is not needed to break a rule.
- ``simulate``: a user's shop in many worlds, until one shows what is wrong with it.
- ``story``: what became of one seed, and how it is told.
- ``surroundings``: what all parts of a world share, and the words of what its shop was told.
- ``timeline``: what happened, one line each.
- ``users_shop``: what a user gives, is lent and sees.
- ``weather``: what goes wrong in one world, drawn from its seed.
- ``world``: one world from its beginning to its judgement.
"""

from __future__ import annotations

from chaoying_async.testing.simulation.process import OutsideDeed
from chaoying_async.testing.simulation.simulate import Simulated, SimulationFailedError, simulate
from chaoying_async.testing.simulation.story import Story
from chaoying_async.testing.simulation.users_shop import (
    ClosedBooks,
    ShopProcess,
    SoldOrder,
    outside,
)
from chaoying_async.testing.simulation.weather import Weather
from chaoying_async.testing.simulation.world import SimulatedWorld

__all__ = [
    "ClosedBooks",
    "OutsideDeed",
    "ShopProcess",
    "Simulated",
    "SimulatedWorld",
    "SimulationFailedError",
    "SoldOrder",
    "Story",
    "Weather",
    "outside",
    "simulate",
]
