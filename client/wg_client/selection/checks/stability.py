"""WG-F07: made again on another split of the records, the model calls many of them differently."""

from itertools import combinations

import numpy as np

from wg_client.fitting.linear_head import Ints
from wg_client.models.manifest import Finding
from wg_client.selection.checks.base import Comparison
from wg_core.language import text

CODE = "WG-F07"
_ALLOWED = 0.25  # Share of records that may be called differently


def check(comparison: Comparison) -> Finding | None:
    """Passed if two runs of cross-validation disagree on at most the limit's share of records."""
    local = comparison.local
    if local is None or len(comparison.model.fitted.predictions) < 2:
        return None
    model_share = disagreement(comparison.model.fitted.predictions)
    local_share = disagreement(local.fitted.predictions)
    return Finding(
        model=comparison.name,
        code=CODE,
        passed=model_share <= max(_ALLOWED, local_share),
        figures={"disagreement": model_share, "local_only": local_share, "limit": _ALLOWED},
        message=text(
            "Two runs on other splits of the records call {found:.1f} % of them differently"
            " (local-only {own:.1f} %); {limit:.1f} % are allowed.",
            found=100 * model_share,
            own=100 * local_share,
            limit=100 * _ALLOWED,
        ),
    )


def disagreement(predictions: Ints) -> float:
    """Share of records ``[repeats, n]`` that two repeats call differently, over all pairs."""
    pairs = list(combinations(predictions, 2))
    return float(np.mean([calls != other_calls for calls, other_calls in pairs])) if pairs else 0.0
