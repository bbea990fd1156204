"""All methods, in the order in which they are fitted and shown."""

from wg_client.methods import method_names
from wg_client.methods.base import Method
from wg_client.methods.delivered_head import DeliveredMethod
from wg_client.methods.ensemble import PooledEnsembleMethod
from wg_client.methods.local_only import LocalOnlyMethod
from wg_client.methods.pooled_head import PooledHeadMethod
from wg_common.catalogue import DIFFUSION_SOURCE, FAMILY_SOURCES, POSTERIOR_SOURCE

METHODS: tuple[Method, ...] = (
    LocalOnlyMethod(),
    DeliveredMethod(
        name=method_names.HANDED_ON, title="handed on", candidate_sources=FAMILY_SOURCES
    ),
    DeliveredMethod(
        name=method_names.GENERATED, title="generated", candidate_sources={DIFFUSION_SOURCE}
    ),
    PooledHeadMethod(),
    DeliveredMethod(
        name=method_names.HANDED_ON_FINETUNED,
        title="handed on + local training",
        candidate_sources=FAMILY_SOURCES,
        fine_tunes=True,
    ),
    DeliveredMethod(
        name=method_names.GENERATED_FINETUNED,
        title="generated + local training",
        candidate_sources={DIFFUSION_SOURCE},
        fine_tunes=True,
    ),
    PooledEnsembleMethod(),
)


def method_title(name: str) -> str:
    """Return the title of a method; an unknown name is returned unchanged."""
    return next((method.title for method in METHODS if method.name == name), name)


def source_mechanism(source: str) -> str:
    """Return how candidates of a source are made (``handed on``, ``generated``, ``pooled``)."""
    if source in FAMILY_SOURCES:
        return "handed on"
    return {DIFFUSION_SOURCE: "generated", POSTERIOR_SOURCE: "pooled"}.get(source, source)
