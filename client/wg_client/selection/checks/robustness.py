"""WG-F05: plausible changes of the plant's own records cost the model far more than local-only.

Records are changed, go through the encoder or network again, and each is called by a head that did
not learn from it. What counts is the loss of accuracy beyond local-only's on the same records: a
change that upsets every model is a matter of the encoder, and refusing the model would not help.
"""

import numpy as np
from scipy.special import ndtri

from wg_client.fitting.linear_head import Floats
from wg_client.methods.base import Model
from wg_client.models.manifest import Finding
from wg_client.selection.checks.base import CONFIDENCE, Comparison
from wg_common.modalities.registry import modality
from wg_core.language import text

CODE = "WG-F05"
_ALLOWED = 0.15  # Most of accuracy that one change may cost beyond what it costs local-only


def check(comparison: Comparison) -> Finding | None:
    """Passed if no change surely costs more beyond local-only's loss than the limit."""
    probe, local = comparison.probe, comparison.local
    changes = {} if probe is None else modality(probe.modality).changes()
    if probe is None or local is None or not changes:
        return None
    labels = comparison.records.all_labels[probe.rows]
    labelled = labels >= 0

    def right(model: Model, name: str = "") -> Floats:
        features = probe.features(model.trunk, name, changes)
        calls = probe.logits(model, comparison.records, features).argmax(axis=1)
        return np.asarray(calls == labels, dtype=np.float64)[labelled]

    lost = {name: right(comparison.model) - right(comparison.model, name) for name in changes}
    beyond = {name: lost[name] - right(local) + right(local, name) for name in changes}
    sure = {name: _lower(beyond[name], CONFIDENCE) for name in changes}
    worst = max(changes, key=lambda name: lost[name].mean())
    least = max(sure.values())
    losses = {f"loss, {name}": float(lost[name].mean()) for name in changes}
    return Finding(
        model=comparison.name,
        code=CODE,
        passed=least <= _ALLOWED,
        figures={
            "beyond_local": least,
            "limit": _ALLOWED,
            "records": float(labelled.sum()),
            **losses,
        },
        message=text(
            "Of {count} plausible changes, tried on {records} records, '{worst}' costs the most:"
            " {lost:.1f} points of accuracy, where local-only loses {local:.1f}.",
            count=len(changes),
            records=int(labelled.sum()),
            worst=text(worst),
            lost=100 * lost[worst].mean(),
            local=100 * (lost[worst] - beyond[worst]).mean(),
        ),
    )


def _lower(values: Floats, confidence: float) -> float:
    """Lower confidence bound of a mean; no variance is believed below that of one odd record."""
    n = len(values)
    spread = max(float(values.std()), (n - 1) ** 0.5 / n)
    return float(values.mean() - float(ndtri(confidence)) * spread / n**0.5)
