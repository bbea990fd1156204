"""Other sites' classes around the plant's own mean, trained on and averaged with local-only.

Two models that err on different records are better together than the better of them
(``fitting.averages``).
"""

import numpy as np

from wg_client.fitting.averages import average_models
from wg_client.fitting.finetune import fit_finetuned
from wg_client.fitting.leave_class_out import BaseHead
from wg_client.fitting.linear_head import Floats, Ints, LinearHead
from wg_client.methods import names
from wg_client.methods.base import LabelledRecords, Model, Package
from wg_common.catalogue import POSTERIOR
from wg_common.inference import posterior as posteriors
from wg_common.inference.posterior import Posterior


class Ensemble:
    """Averaged where every class has two records; else trained on only."""

    name = names.POOLED_FINETUNED
    title = "pooled + local training"
    reference = False

    def fit(self, records: LabelledRecords, package: Package) -> Model | None:
        """See ``Method``."""
        local, trunk = records.local, records.public
        if package.posterior is None or local is None:
            return None
        fitted_model = fit_finetuned(
            mean_aligned(package.posterior, records.unlabelled_features(trunk)),
            records.features(trunk),
            records.labels,
            records.folds,
            unseen_mass=records.unseen_mass,
        )
        average = None
        if records.every_class_twice:
            average = average_models((local, fitted_model), records.folds)
        return Model(trunk=trunk, fitted=average or fitted_model, origin=POSTERIOR)


def mean_aligned(posterior: Posterior, unlabelled_records: Floats) -> BaseHead:
    """Shift other sites' knowledge of classes to the mean of the training records.

    Args:
        posterior: From the server.
        unlabelled_records: Local features ``[m, D]`` of records that have a part in the mean.
    """
    align = posteriors.mean_aligned(posterior)

    def base(features: Floats, labels: Ints) -> LinearHead:
        x = np.concatenate([features, unlabelled_records])[:, : len(posterior.within)]
        y = np.concatenate([labels, np.full(len(unlabelled_records), -1)])
        return LinearHead(*align(x, y)).pad_features(features.shape[1])

    return base
