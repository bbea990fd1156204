"""Random weights: what accuracy means on these records. For reference, never kept."""

from wg_client.fitting.finetune import fixed
from wg_client.methods import names
from wg_client.methods.base import LabelledRecords, Model, Package
from wg_client.methods.delivered import fit_delivered


class RandomInit:
    """See the module."""

    name = names.RANDOM
    title = "random initialisation"
    reference = True

    def fit(self, records: LabelledRecords, package: Package) -> Model:
        """See ``Method``."""
        candidate = package.reference
        features = records.features(candidate.trunk)
        return Model(
            trunk=candidate.trunk, fitted=fit_delivered(fixed(candidate.head), features, records)
        )
