"""The best weights that the server's generator made, as they came and trained on from."""

from wg_client.methods import names
from wg_client.methods.delivered import DeliveredMethod
from wg_common.catalogue import BASE, GENERATED_SOURCES

_SOURCES = GENERATED_SOURCES | {BASE}

AS_DELIVERED = DeliveredMethod(name=names.GENERATED, title="generated", sources=_SOURCES)
FINETUNED = DeliveredMethod(
    name=names.GENERATED_FINETUNED,
    title="generated + local training",
    sources=_SOURCES,
    trained=True,
)
