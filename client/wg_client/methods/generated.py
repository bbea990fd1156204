"""The best weights that the server's generator made, as they came and trained on from.

What they claim beyond the closed form of the same release is their own: of having seen the records
that check them they are charged for as much as the closed form is.
"""

from __future__ import annotations

from wg_client.methods import names
from wg_client.methods.closed_form import REUSED, REUSED_FINETUNED
from wg_client.methods.delivered import DeliveredMethod
from wg_common.catalogue import GENERATED_SOURCES

AS_DELIVERED = DeliveredMethod(
    name=names.GENERATED,
    title="generated",
    sources=GENERATED_SOURCES,
    reused=REUSED,
    unchecked_rank=1,
    alone_rank=3,
)
FINETUNED = DeliveredMethod(
    name=names.GENERATED_FINETUNED,
    title="generated + local training",
    sources=GENERATED_SOURCES,
    reused=REUSED_FINETUNED,
    trained=True,
)
