"""Check WG-F08: a weight is not finite, or logits are too large for the arithmetic of exports."""

import numpy as np

from wg_client.models.manifest import CheckFinding
from wg_client.selection.checks.base import ModelComparison
from wg_common.language import text

CODE = "WG-F08"
_LARGEST_LOGIT = float(np.finfo(np.float16).max)  # Largest magnitude of a logit: 65,504


def check(comparison: ModelComparison) -> CheckFinding:
    """Pass if all tensors are finite, and no logit of a local record exceeds the limit."""
    model = comparison.model
    bad = sum(int((~np.isfinite(values)).sum()) for values in model.tensors().values())
    head = model.fitted_model.head
    with np.errstate(all="ignore"):
        largest = float(np.max(np.abs(head.logits(model.trunk.features)), initial=0.0))
        norm = float(np.linalg.norm(head.weight, axis=1).max())
    is_passed = not bad and largest <= _LARGEST_LOGIT
    return CheckFinding(
        model=comparison.name,
        code=CODE,
        passed=is_passed,
        figures={
            "not_finite": float(bad),
            "logit": _finite_or_minus_one(largest),
            "limit": _LARGEST_LOGIT,
            "norm": _finite_or_minus_one(norm),
        },
        message=text(
            "{bad} weights are not finite; the largest logit on your records is "
            "{largest:.3g} (allowed: {limit:g}).",
            bad=bad,
            largest=largest,
            limit=_LARGEST_LOGIT,
        ),
    )


def _finite_or_minus_one(value: float) -> float:
    """Return a value for the manifest, which holds no infinities: -1 in their place."""
    return value if np.isfinite(value) else -1.0
