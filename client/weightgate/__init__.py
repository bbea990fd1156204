"""weightgate from Python: what ``wg-client`` does, for scripts and notebooks at the plant.

A thin layer over the functions of the commands. Nothing here releases anything: what leaves the
plant leaves by ``wg-client run`` and ``wg-client statistics``, through policy and ledger. ::

    import weightgate

    plant = weightgate.Plant.open("plant")
    print(plant.check().cost.alone)
    for one in plant.predict("new-pictures"):
        print(one.name, one.label, one.call)

``weightgate.Classifier`` is a scikit-learn classifier, and ``weightgate.Regressor`` a soft sensor
in its manner, for which ``weightgate.read_hours`` cuts a log at a laboratory's values. They need
the extra ``client``.
"""

from typing import TYPE_CHECKING, Any

from weightgate.plant import Plant
from wg_client.data.laboratory import read_hours
from wg_client.models.predict import Prediction
from wg_client.release.preview import Check
from wg_core import __version__
from wg_core.errors import WgError

if TYPE_CHECKING:
    from weightgate.classifier import Classifier
    from weightgate.regressor import Regressor

__all__ = [
    "Check",
    "Classifier",
    "Plant",
    "Prediction",
    "Regressor",
    "WgError",
    "__version__",
    "read_hours",
]


def __dir__() -> list[str]:
    """All names, those of scikit-learn's manner among them before they are imported."""
    return __all__


def __getattr__(name: str) -> Any:
    """``Classifier`` and ``Regressor``, which alone need scikit-learn."""
    if name == "Classifier":
        from weightgate.classifier import Classifier

        return Classifier
    if name == "Regressor":
        from weightgate.regressor import Regressor

        return Regressor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
