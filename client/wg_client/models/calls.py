"""What a call is worth: sure, unsure, or of a record that is new.

``sure`` and ``unsure`` are told apart by the probability, at the least value above which, out of
fold, at most a tenth of the calls is wrong, with 90 % confidence (``fitting.sure_calls``). Records
of classes that the plant has none of count with their expected share as if all were called wrong
and sure: where that is more than may be wrong, no call is sure; and none of such a class is.
``new`` is a record whose likeness to the plant's own is at most 5 % (``novelty``): of its label and
its probability nothing should be believed.

Not guaranteed: any of it for records of another kind than the plant's, but that most are called
new.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from wg_client.models import acceptance, adoption, novelty, store
from wg_client.models.manifest import ModelsManifest
from wg_client.models.novelty import Novelty
from wg_client.models.predict import Inputs, Prediction
from wg_core.site import config as configuration
from wg_core.site.home import ClientHome

SURE, UNSURE, NEW = "sure", "unsure", "new"
PASS, REJECT = "pass", "reject"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Judge:
    """Says what calls of one model are worth.

    Attributes:
        sure: Least probability of a sure call; None: not known.
        unseen: Labels that no record of the plant had: no call of one is sure.
        novelty: Tells new records from known ones; None: nothing does.
        good: Which labels mean "no defect", ``[K]``; None: not known.
        threshold: Least probability of a defect that rejects a record.
    """

    sure: float | None = None
    unseen: tuple[str, ...] = ()
    novelty: Novelty | None = None
    good: NDArray[np.bool_] | None = None
    threshold: float = adoption.EVEN

    @classmethod
    def of_model(cls, home: ClientHome, manifest: ModelsManifest, name: str) -> Judge:
        """Build the judge of a stored model.

        Raises:
            VerificationError: A file is not the one that was written, or the home holds another
                encoder.
        """
        tensors = store.load_novelty(home, manifest)
        config = configuration.load(home)
        judge = cls(
            sure=manifest.sure.get(manifest.entry(name).name),
            unseen=manifest.unseen,
            good=acceptance.good_mask(manifest.labels, config.data.good),
            threshold=acceptance.threshold(home, manifest, name),
        )
        if tensors is None:
            return judge
        return replace(judge, novelty=novelty.from_tensors(tensors, "novelty"))

    def judge(self, predictions: Sequence[Prediction], inputs: Inputs) -> list[Prediction]:
        """Predictions with what they are worth.

        Args:
            predictions: Of records, from ``predict``.
            inputs: What the model saw of them.
        """
        likeness = self.likeness(inputs)
        judged = []
        for prediction, like in zip(predictions, likeness, strict=True):
            share = None if np.isnan(like) else float(like)
            call = self._word(prediction, share)
            verdict = self._verdict(prediction)
            judged.append(replace(prediction, likeness=share, call=call, verdict=verdict))
        return judged

    def _verdict(self, prediction: Prediction) -> str:
        if self.good is None:
            return ""
        defect = float(np.array(prediction.probabilities)[~self.good].sum())
        return REJECT if defect >= self.threshold else PASS

    def likeness(self, inputs: Inputs) -> NDArray[np.float32]:
        """Likeness of records to the plant's own by what models see, ``[n]``; NaN: not known."""
        if self.novelty is None:
            return np.full(len(inputs), np.nan, np.float32)
        return self.novelty.likeness(inputs)

    def is_new(self, likeness: float | None) -> bool:
        """Return whether a record of this likeness is called new."""
        return likeness is not None and likeness <= novelty.NEW

    def _word(self, prediction: Prediction, likeness: float | None) -> str:
        if self.is_new(likeness):
            return NEW
        if self.sure is None:
            return ""
        sure = prediction.probability >= self.sure and prediction.label not in self.unseen
        return SURE if sure else UNSURE
