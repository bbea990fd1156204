"""Linear discriminants as a head."""

from wg_client.fitting.linear_head import Floats, Ints, LinearHead
from wg_common.inference import discriminants


def fit_lda(features: Floats, labels: Ints, classes: int, shrinkage: float) -> LinearHead:
    """Fit them; arguments as for ``discriminants.fit_ldas``."""
    return LinearHead(*discriminants.fit_ldas(features, labels, classes, (shrinkage,))[0])
