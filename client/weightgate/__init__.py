"""weightgate from Python: what ``wg-client`` does, for scripts and notebooks at the plant.

A thin layer over the functions of the commands. Nothing here releases anything: what leaves the
plant leaves by ``wg-client run`` and ``wg-client statistics``, through policy and ledger. ::

    import weightgate

    plant = weightgate.Plant.open("plant")
    print(plant.check().cost.alone)
    for one in plant.predict("new-pictures"):
        print(one.name, one.label, one.call)

``weightgate.Classifier`` is a scikit-learn classifier; it needs the extra ``client``.
"""

from typing import TYPE_CHECKING, Any

from weightgate.plant import Plant
from wg_client.models.predict import Prediction
from wg_client.release.preview import Check
from wg_core import __version__
from wg_core.errors import WgError

if TYPE_CHECKING:
    from weightgate.classifier import Classifier

__all__ = ["Check", "Classifier", "Plant", "Prediction", "WgError", "__version__"]


def __dir__() -> list[str]:
    """All names, ``Classifier`` among them before it is imported."""
    return __all__


def __getattr__(name: str) -> Any:
    """``Classifier``, which alone needs scikit-learn."""
    if name == "Classifier":
        from weightgate.classifier import Classifier

        return Classifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
