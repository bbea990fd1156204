"""``data.local_encoder``: the second encoder that a plant's owner chose for the plant alone.

One that comes as a package, by its name: of images, or of English texts. Or the course of windows,
which ``init`` writes here for a plant that has them. Or an ONNX file with all
that is needed to read it: its hash, how images enter, and the licence that the owner has it under.
The owner confirms the hash by writing it here; the file is checked against it before anything
parses it, at each use (``wg_common.nets.encoder.onnx_file``).
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path

from wg_core import atomic, settings
from wg_core.errors import ConfigError
from wg_core.site.encoder_names import LICENCE as COURSE_LICENCE
from wg_core.site.encoder_names import (
    LITE2,
    LITE2_LICENCE,
    LITE2_SHA256,
    MINILM,
    MINILM_LICENCE,
    MINILM_SHA256,
    channels_of,
    course_name,
    digest,
)
from wg_core.site.reading import CHANNELS_LIMIT
from wg_core.wire import protocol

DESCRIPTION_LIMIT = 1 << 16
PACKAGES = {LITE2: (LITE2_SHA256, LITE2_LICENCE), MINILM: (MINILM_SHA256, MINILM_LICENCE)}
"""Those that come as a package: SHA-256 of the weights, and their licence."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
Colours = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalEncoderPin:
    """Which local encoder made features: all that can change one of them.

    Attributes:
        name: For people.
        sha256: Of its weights, hex.
        pixels: Side of the images that it sees; 0: the shared encoder's.
        mean: What images enter with, see ``onnx_file.ImageInput``; null: ImageNet's.
        std: Likewise.
    """

    name: str
    sha256: str
    pixels: int
    mean: Colours | None
    std: Colours | None

    def __str__(self) -> str:
        return f"{self.name} ({self.sha256[:16]})"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalEncoderConfig:
    """See the module.

    Attributes:
        name: ``efficientnet-lite2``, ``all-minilm-l6-v2`` of texts, ``window-course-C`` of windows
            with C channels, or what the owner calls the file.
        file: Absolute path of an ONNX file; empty: what goes by that name. All below is stated
            for a file, and for nothing else.
        sha256: Of the file, hex.
        pixels: Side of the square images that the network takes.
        mean: Of red, green and blue, in units of the largest pixel value.
        std: Likewise.
        licence: Of the weights.
    """

    name: str
    file: str = ""
    sha256: str = ""
    pixels: int = 0
    mean: Colours | None = None
    std: Colours | None = None
    licence: str = ""

    def __post_init__(self) -> None:
        if not self.file:
            if self.name not in PACKAGES and not self.channels:
                raise ConfigError(
                    f"data.local_encoder.name: {self.name[:64]!r}, expected {LITE2}, {MINILM},"
                    f" {course_name(1)} to {course_name(CHANNELS_LIMIT)}, or a file"
                )
            file_settings = (self.sha256, self.pixels, self.mean, self.std, self.licence)
            if file_settings != ("", 0, None, None, ""):
                raise ConfigError(f"data.local_encoder: {self.name} takes no setting but its name")
            return
        if not _NAME.fullmatch(self.name) or self.name in PACKAGES or channels_of(self.name):
            raise ConfigError(
                f"data.local_encoder.name: {self.name[:64]!r}, expected a name of your own of"
                " letters, digits, '.', '_' and '-'"
            )
        if not Path(self.file).is_absolute():
            raise ConfigError(f"data.local_encoder.file: {self.file!r}, expected an absolute path")
        if not protocol.SHA256.fullmatch(self.sha256):
            raise ConfigError(
                f"data.local_encoder.sha256: {self.sha256[:80]!r}, expected 64 lower-case hex"
                " digits: sha256sum prints them"
            )
        settings.check_range("data.local_encoder.pixels", self.pixels, 32, 512)
        self._check_colours()
        if not self.licence.strip() or len(self.licence) > 200 or not self.licence.isprintable():
            raise ConfigError(
                "data.local_encoder.licence: expected 1 to 200 characters: which licence you have"
                " the weights under"
            )

    def _check_colours(self) -> None:
        for name, value, low in (("mean", self.mean, -10.0), ("std", self.std, 1e-3)):
            good = value is not None and all(math.isfinite(v) and low <= v <= 10 for v in value)
            if not good:
                raise ConfigError(
                    f"data.local_encoder.{name}: {value}, expected three numbers of {low:g} to 10"
                )

    @property
    def channels(self) -> int:
        """Of the windows whose course it is; 0: it sees images."""
        return 0 if self.file else channels_of(self.name)

    @property
    def of_texts(self) -> bool:
        """Whether it sees texts."""
        return not self.file and self.name == MINILM

    @property
    def pin(self) -> LocalEncoderPin:
        """What its features depend on."""
        return LocalEncoderPin(
            name=self.name,
            sha256=self.sha256 or (digest(self.name) if self.channels else PACKAGES[self.name][0]),
            pixels=self.pixels,
            mean=self.mean,
            std=self.std,
        )

    @property
    def under(self) -> str:
        """Licence of the weights."""
        return self.licence or (COURSE_LICENCE if self.channels else PACKAGES[self.name][1])


def read(name_or_file: str) -> LocalEncoderConfig:
    """What ``--local-encoder`` names: a package, or a YAML file with the fields of the config.

    Raises:
        ConfigError: It is neither, or a field is unknown, missing or out of range.
    """
    if name_or_file in PACKAGES or channels_of(name_or_file):
        return LocalEncoderConfig(name=name_or_file)
    path = Path(name_or_file)
    if not path.is_file():
        raise ConfigError(
            f"--local-encoder: {name_or_file!r}, expected {' or '.join(PACKAGES)} or a YAML file"
        )
    data = atomic.read_bytes(path, limit=DESCRIPTION_LIMIT)
    return settings.parse(data, LocalEncoderConfig, str(path))
