"""Python API of the plant's client, for scripts and notebooks.

A thin layer over the functions behind the ``wg-client`` commands. Nothing here releases anything:
data leave the plant only by ``wg-client run`` and ``wg-client statistics``, through policy and
ledger. ::

    import weightgate

    plant = weightgate.Plant.open("plant")
    print(plant.check().cost.alone)
    for one in plant.predict("new-pictures"):
        print(one.name, one.label, one.call)

``weightgate.Classifier`` is a scikit-learn classifier, and ``weightgate.Regressor`` a soft sensor
with the interface of a scikit-learn regressor; ``weightgate.read_hours`` cuts a log into windows
with laboratory values for it. The estimators need ``weightgate[client]``.
"""

from typing import TYPE_CHECKING, Any

from weightgate.plant import Plant
from wg_client.data.laboratory import read_laboratory_windows as read_hours
from wg_client.models.predict import Prediction
from wg_client.release.preview import ReleasePreview as Check
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
    """Return all public names, including the lazily imported estimators."""
    return __all__


def __getattr__(name: str) -> Any:
    """Import ``Classifier`` and ``Regressor`` on first use, since only they need scikit-learn."""
    if name == "Classifier":
        from weightgate.classifier import Classifier

        return Classifier
    if name == "Regressor":
        from weightgate.regressor import Regressor

        return Regressor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
