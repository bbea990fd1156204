"""The best weights that the server's generator made, as they came and trained on from."""

from wg_client.methods import names
from wg_client.methods.delivered import DeliveredMethod
from wg_common.catalogue import GENERATED_SOURCES

AS_DELIVERED = DeliveredMethod(name=names.GENERATED, title="generated", sources=GENERATED_SOURCES)
FINETUNED = DeliveredMethod(
    name=names.GENERATED_FINETUNED,
    title="generated + local training",
    sources=GENERATED_SOURCES,
    trained=True,
)
