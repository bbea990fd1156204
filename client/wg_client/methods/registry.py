"""All methods, in the order in which they are fitted and shown."""

from wg_client.methods import names
from wg_client.methods.base import Method
from wg_client.methods.delivered import DeliveredMethod
from wg_client.methods.ensemble import Ensemble
from wg_client.methods.local_only import LocalOnly
from wg_client.methods.posterior_head import PosteriorHead
from wg_common.catalogue import DIFFUSION_SOURCE, FAMILY_SOURCES, POSTERIOR_SOURCE

METHODS: tuple[Method, ...] = (
    LocalOnly(),
    DeliveredMethod(name=names.HANDED_ON, title="handed on", sources=FAMILY_SOURCES),
    DeliveredMethod(name=names.GENERATED, title="generated", sources={DIFFUSION_SOURCE}),
    PosteriorHead(),
    DeliveredMethod(
        name=names.HANDED_ON_FINETUNED,
        title="handed on + local training",
        sources=FAMILY_SOURCES,
        trained=True,
    ),
    DeliveredMethod(
        name=names.GENERATED_FINETUNED,
        title="generated + local training",
        sources={DIFFUSION_SOURCE},
        trained=True,
    ),
    Ensemble(),
)


def method_title(name: str) -> str:
    """Return the title of a method; an unknown name is returned unchanged."""
    return next((method.title for method in METHODS if method.name == name), name)


def source_mechanism(source: str) -> str:
    """Return the mechanism by which a candidate of a source was made."""
    if source in FAMILY_SOURCES:
        return "handed on"
    return {DIFFUSION_SOURCE: "generated", POSTERIOR_SOURCE: "pooled"}.get(source, source)
