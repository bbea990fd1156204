"""Looking at a data set before it is frozen: every record decoded and hashed, problems named."""

from pathlib import Path

from wg_client.data.inspection import Inspection, Stage, inspect
from wg_client.data.survey import survey
from wg_client.release.freeze import LoadEncoder
from wg_core.site import config as configuration
from wg_core.site import encoder_pin
from wg_core.site.home import ClientHome


def look(home: ClientHome, *, load: LoadEncoder, stage: Stage | None = None) -> Inspection:
    """Decode and hash every record of the home's data set, and name what cannot be used.

    Args:
        load: Loads the encoder package.
        stage: Told how far it is.

    Raises:
        ConfigError: The home is not initialised, or ``client.yaml`` is wrong.
        DataError: The data set as a whole cannot be read, or is of another modality.
    """
    config = configuration.load(home)
    encoder = load(encoder_pin.load(home, config))
    found = survey(
        Path(config.data.path),
        config.data.labels,
        unit_column=config.data.unit_column,
        modality=encoder.modality,
        reading=config.data.reading,
    )
    return inspect(found, units=config.privacy.unit_rule != "record", stage=stage)
