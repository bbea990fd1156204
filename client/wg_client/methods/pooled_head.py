"""Method that makes a head of class means from other sites, around the plant's own mean.

It is for plants without labels: their records give the plant's mean (empirical Bayes,
``wg_common.inference.posterior``) and its clusters (``fitting.cluster_refinement``). With labels,
fine-tuning from the same class means (``ensemble``) was better at every number of labels.
"""

import numpy as np

from wg_client.fitting.cluster_refinement import refine_by_clusters
from wg_client.fitting.fitted_model import FittedModel
from wg_client.fitting.linear_head import LinearHead
from wg_client.methods import method_names
from wg_client.methods.base import FittedMethod, PlantRecords, PreparedPackage
from wg_common.catalogue import POSTERIOR_SOURCE
from wg_common.inference import posterior as posteriors


class PooledHeadMethod:
    """Method that makes a head from other sites' releases, for plants without labels."""

    name = method_names.POOLED
    title = "pooled"
    is_reference = False

    def fit(self, records: PlantRecords, package: PreparedPackage) -> FittedMethod | None:
        """Return the head from other sites' releases; None without releases, or with labels."""
        posterior, trunk = package.posterior, records.encoder_features
        if posterior is None or len(records.labels):
            return None
        # Statistics of other sites cover only the released features, which come first.
        released_features = trunk.features[:, : len(posterior.within)]
        no_labels = np.full(len(released_features), -1)
        released_head = LinearHead(
            *posteriors.posterior_head(posterior, released_features, no_labels)
        )
        head = released_head.pad_features(trunk.features.shape[1])
        fitted_model = FittedModel(
            refine_by_clusters(head, trunk.features) if len(released_features) else head, None
        )
        return FittedMethod(
            trunk=trunk,
            fitted_model=fitted_model,
            origin_candidate=POSTERIOR_SOURCE,
            priority_without_labels=2,
        )
