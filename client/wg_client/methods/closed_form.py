"""The closed-form head that the server computes from noisy statistics, and training on from it."""

from __future__ import annotations

from wg_client.methods import names
from wg_client.methods.delivered import DeliveredMethod
from wg_common.catalogue import CLOSED_FORM

REUSED = (names.CLOSED_FORM, names.POSTERIOR_HEAD)
REUSED_FINETUNED = (names.CLOSED_FORM_FINETUNED, names.ENSEMBLE)

AS_DELIVERED = DeliveredMethod(
    name=names.CLOSED_FORM,
    title="closed-form DP head",
    sources=(CLOSED_FORM,),
    reused=REUSED,
    unchecked_rank=0,
    alone_rank=0,
)
FINETUNED = DeliveredMethod(
    name=names.CLOSED_FORM_FINETUNED,
    title="closed-form + local training",
    sources=(CLOSED_FORM,),
    reused=REUSED_FINETUNED,
    trained=True,
)
