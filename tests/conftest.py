"""Fixtures of the whole suite: our own pytest plugin, and the canary of M-27."""

from __future__ import annotations

import pytest

from chaoying_async.testing import pytest_plugin


def pytest_configure(config: pytest.Config) -> None:
    # Where the package is installed, its entry point has loaded the plugin already.
    if pytest_plugin not in config.pluginmanager.get_plugins():
        config.pluginmanager.register(pytest_plugin)
