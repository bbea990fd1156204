"""Method that fine-tunes a head made of other sites' class means, and averages it with local-only.

The posterior's class means are first shifted to the plant's own mean. The average of models that
err on different records is better than the best of them (``fitting.model_averages``).
"""

import numpy as np

from wg_client.fitting.finetune import fit_finetuned
from wg_client.fitting.leave_class_out import BaseHeadFitter
from wg_client.fitting.linear_head import Floats, Ints, LinearHead
from wg_client.fitting.model_averages import average_models
from wg_client.methods import method_names
from wg_client.methods.base import FittedMethod, PlantRecords, PreparedPackage
from wg_common.catalogue import POSTERIOR_SOURCE
from wg_common.inference import posterior as posteriors
from wg_common.inference.posterior import Posterior


class PooledEnsembleMethod:
    """Method that fine-tunes the pooled head, and averages it with local-only if labels suffice."""

    name = method_names.POOLED_FINETUNED
    title = "pooled + local training"
    is_reference = False

    def fit(self, records: PlantRecords, package: PreparedPackage) -> FittedMethod | None:
        """Return the pooled head, fine-tuned and averaged with local-only; None without inputs."""
        local, trunk = records.local_only_model, records.encoder_features
        if package.posterior is None or local is None:
            return None
        fitted_model = fit_finetuned(
            mean_aligned_base_head(package.posterior, records.unlabelled_features(trunk)),
            records.labelled_features(trunk),
            records.labels,
            records.folds,
            unseen_mass=records.unseen_mass,
        )
        average = None
        if records.has_two_records_per_class:
            average = average_models((local, fitted_model), records.folds)
        return FittedMethod(
            trunk=trunk, fitted_model=average or fitted_model, origin_candidate=POSTERIOR_SOURCE
        )


def mean_aligned_base_head(posterior: Posterior, unlabelled_features: Floats) -> BaseHeadFitter:
    """Return a function that makes a head of other sites' class means, shifted to the plant's mean.

    Args:
        posterior: Posterior of the class means, from the server.
        unlabelled_features: Local features ``[m, D]`` of unlabelled records, included in the mean.
    """
    align = posteriors.mean_aligned_head_fitter(posterior)

    def base(features: Floats, labels: Ints) -> LinearHead:
        x = np.concatenate([features, unlabelled_features])[:, : len(posterior.within)]
        y = np.concatenate([labels, np.full(len(unlabelled_features), -1)])
        return LinearHead(*align(x, y)).pad_features(features.shape[1])

    return base
