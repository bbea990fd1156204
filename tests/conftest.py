"""The order of the whole suite."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is slow to make examples, and no test may fail for that.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

LONG = "tests/e2e/test_readme.py"
"""More than a minute, one test: the other workers would wait for it at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest file."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))
