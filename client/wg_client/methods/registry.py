"""The methods, in the order in which they are fitted and shown everywhere."""

from wg_client.methods import generated
from wg_client.methods.base import Method
from wg_client.methods.ensemble import Ensemble
from wg_client.methods.local_only import LocalOnly
from wg_client.methods.posterior_head import PosteriorHead

METHODS: tuple[Method, ...] = (
    LocalOnly(),
    generated.AS_DELIVERED,
    PosteriorHead(),
    generated.FINETUNED,
    Ensemble(),
)


def title(name: str) -> str:
    """The title of a method; a name that is no method's stands for itself."""
    return next((method.title for method in METHODS if method.name == name), name)
