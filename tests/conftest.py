"""The order of the whole suite."""

from __future__ import annotations

import pytest

LONG = "tests/e2e/test_readme.py"
"""Two minutes, one test: the other workers would wait for it at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest file."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))
