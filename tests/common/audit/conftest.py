"""The plant with a ledger of the ledger's own tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.common.ledger.conftest import Site

    from wg_common.ledger.store import Ledger

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.syspath_prepend(str(REPOSITORY))
    from tests.common.ledger.conftest import Site as Plant

    return Plant(tmp_path)


@pytest.fixture
def ledger(site: Site) -> Iterator[Ledger]:
    with site.create() as opened:
        yield opened
