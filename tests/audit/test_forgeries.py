"""No forged log passes; the true one does, with everything that refutes the forgeries."""

from __future__ import annotations

import random
import re

import pytest
from tests.audit import workshop
from tests.audit.forgeries import ALONE, BECAUSE, FORGERIES
from tests.audit.workshop import WHEN, Truth

from wg_audit import verification
from wg_core.errors import WgError

SEEDS = (1, 2)


def test_the_truth_passes_with_all_that_refutes_the_forgeries(truth: Truth) -> None:
    for path in (truth.site.path, truth.export):
        found = verification.audit_log(
            path,
            truth.keys,
            statistics=[truth.checkpoint.parent],
            checkpoints=[truth.checkpoint],
            server=truth.exported.folder,
            max_age=3600,
            current_time=WHEN + 60,
        )
        assert not found.verdict.problems and found.verdict.cosigned_to == found.verdict.entries
        assert sum(account.charges for account in found.accounts) == 7
        budgets, proofs, past = found.verdict.not_checked
        assert budgets.startswith("whether 2 budgets") and past.startswith("whether anything left")
        assert proofs.startswith("the proofs inside received files")


def test_the_forgers_tools_change_nothing_by_themselves(truth: Truth) -> None:
    """A log that is taken apart and put together again is the true one, and passes."""
    assert workshop.settle(truth.entries, truth.heads) == truth.entries
    forged = workshop.settled(truth, truth.entries)
    assert not verification.audit_log(
        forged.path, truth.keys, checkpoints=[truth.checkpoint], server=truth.exported.folder
    ).verdict.problems


def test_there_are_many_forgeries_and_half_of_them_hold_by_themselves() -> None:
    assert len(FORGERIES) >= 60 and len(ALONE) >= 20


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", FORGERIES)
def test_no_forgery_passes(truth: Truth, name: str, seed: int) -> None:
    truth.rng = random.Random(f"{name} {seed}")
    forged = FORGERIES[name](truth)
    if name in ALONE and seed == SEEDS[0]:
        alone = verification.audit_log(forged.path).verdict
        assert not alone.problems, "badly made: it does not hold by itself"
    try:
        found = verification.audit_log(forged.path, **forged.brought)
    except WgError as error:
        reasons = str(error)
    else:
        reasons = " ".join(found.verdict.problems)
    assert re.search(BECAUSE[name], reasons), reasons
