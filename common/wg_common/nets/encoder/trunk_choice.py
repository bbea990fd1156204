"""Names and settings of the trunks that an operator chooses for an encoder.

A zoo's plan lists the trunks. Plants release features of the first one; features of all trunks are
local features. A trunk is given by a name that this program knows, or by an ONNX file and its hash,
input format, output, and licence of weights. The file becomes part of the encoder package, whose
hash each plant's owner confirms.
"""

import math
import re
from dataclasses import dataclass, fields
from typing import Literal

from wg_core import yaml_settings
from wg_core.errors import ConfigError
from wg_core.wire import protocol

FEATURE_COUNT_LIMIT = 4096
TRUNKS_LIMIT = 4
_NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9 =._-]{0,99}")
_OUTPUT_NAME_PATTERN = re.compile(r"[\x21-\x7e]{0,200}")
ColourTriple = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrunkChoice:
    """Operator's choice of one trunk: its name, or a file with all of its settings.

    Attributes:
        name: Name of a trunk in this program, or the operator's name for the file.
        file: Path of an ONNX file; in a package, name of the tensor that holds its bytes.
        sha256: SHA-256 of the file, hex.
        pixels: Side of the network's square input images.
        layout: ``nchw`` for channels first, ``nhwc`` for channels last.
        mean: Mean of red, green and blue for pixels from 0 to 1, subtracted from float inputs.
        std: Standard deviations of red, green and blue, by which float inputs are divided.
        output: Name of the output to use; empty for the first.
        licence: Licence of the weights.
        width: Number of features; 0 in a plan, which need not state it.
    """

    name: str
    file: str = ""
    sha256: str = ""
    pixels: int = 0
    layout: Literal["nchw", "nhwc"] = "nchw"
    mean: ColourTriple = (0.0, 0.0, 0.0)
    std: ColourTriple = (1.0, 1.0, 1.0)
    output: str = ""
    licence: str = ""
    width: int = 0

    def __post_init__(self) -> None:
        if not _NAME_PATTERN.fullmatch(self.name):
            raise ConfigError(
                f"trunk {self.name[:64]!r}: expected a name of letters, digits and any of ' =._-'"
            )
        subject = f"trunk {self.name}"
        if not self.file:
            image_fields = fields(self)[3:]  # the fields after name, file and sha256
            if any(getattr(self, part.name) != part.default for part in image_fields):
                raise ConfigError(f"{subject}: takes no setting but its name, without a file")
            return
        if not protocol.SHA256_PATTERN.fullmatch(self.sha256):
            raise ConfigError(
                f"{subject}: sha256: {self.sha256[:80]!r}, expected 64 lower-case hex digits:"
                " sha256sum prints them"
            )
        yaml_settings.check_range(f"{subject}: pixels", self.pixels, 32, 512)
        yaml_settings.check_range(f"{subject}: width", self.width, 0, FEATURE_COUNT_LIMIT)
        for part, values, low in (("mean", self.mean, -1e3), ("std", self.std, 1e-3)):
            if not all(math.isfinite(value) and low <= value <= 1e3 for value in values):
                raise ConfigError(f"{subject}: {part}: {values}, expected numbers to 1000")
        if not _OUTPUT_NAME_PATTERN.fullmatch(self.output):
            raise ConfigError(f"{subject}: output: {self.output[:80]!r}, expected its name")
        licence = self.licence.strip()
        if not 0 < len(licence) <= 200 or not licence.isprintable():
            raise ConfigError(
                f"{subject}: licence: expected 1 to 200 characters: which licence you"
                " have the weights under"
            )


def check_choices(trunks: tuple[TrunkChoice, ...]) -> None:
    """Raise ``ConfigError`` if there are more than ``TRUNKS_LIMIT`` trunks or equal names."""
    if len(trunks) > TRUNKS_LIMIT or len({trunk.name for trunk in trunks}) < len(trunks):
        raise ConfigError(f"encoder.trunks: expected at most {TRUNKS_LIMIT}, each once")
