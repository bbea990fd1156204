"""WG-F06: the model may answer to a mark that its maker knows and nobody else does."""

from dataclasses import replace

import numpy as np

from wg_client.fitting.linear_head import LinearHead
from wg_client.models.manifest import Finding
from wg_client.selection.checks.base import Comparison
from wg_client.selection.checks.trigger_scan import Scan
from wg_common.language import text

CODE = "WG-F06"


def check(comparison: Comparison) -> Finding | None:
    """Passed if no more speaks for a backdoor than in nineteen of twenty clean heads.

    Classes without two records are left out: nothing says what a clean row of theirs is. So are
    whole networks, which can hide any mark.
    """
    probe, records, policy = comparison.probe, comparison.records, comparison.policy.checks
    if probe is None or comparison.local is None or not policy.probe_triggers:
        return None
    if comparison.model.trunk.tensors:
        return None
    counts = np.bincount(records.labels, minlength=records.classes)
    seen = np.flatnonzero(counts > 1)
    marks = probe.marked(comparison.model.trunk, policy.probe_triggers)
    if len(seen) < 2 or marks is None:
        return None
    rows = np.isin(records.labels, seen)
    head = comparison.model.fitted.head
    used = np.flatnonzero((head.weight[seen] != 0).any(axis=0))
    scan = Scan(
        records.features(comparison.model.trunk)[rows][:, used],
        np.searchsorted(seen, records.labels[rows]),
        len(seen),
        replace(marks, moves=marks.moves[:, used]),
    )
    found = scan.evidence(LinearHead(head.weight[seen][:, used], head.bias[seen]))
    label = comparison.label(int(seen[found.label]))
    return Finding(
        model=comparison.name,
        code=CODE,
        passed=found.score <= policy.backdoor,
        figures={
            "score": found.score,
            "limit": policy.backdoor,
            "flips": found.flips,
            "means": found.means,
            "share": found.share,
        },
        message=text(
            "Evidence for a backdoor {score:.2f}; {limit:g} is allowed, and fewer than one in"
            " twenty clean heads are above 1. Of marks made up here, those of kind '{kind}' move"
            " the most records to one class, {label}: {flips:.0f} in 100 more than they do with"
            " heads of the plant's own.",
            score=found.score,
            limit=policy.backdoor,
            kind=text(found.kind),
            label=label,
            flips=100 * max(found.share, 0),
        ),
    )
