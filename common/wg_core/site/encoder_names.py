"""Local encoders by name: hashes and licences of published weights, and the course of windows.

``client.yaml`` names them; what they compute is outside of the core.
"""

import hashlib
import re

from wg_core.site.reading import CHANNELS_LIMIT

LITE2 = "efficientnet-lite2"  # The local encoder that comes as a package
LITE2_SHA256 = "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
LITE2_LICENCE = "Apache-2.0"
MINILM = "all-minilm-l6-v2"  # Likewise, of English texts
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MINILM_LICENCE = "Apache-2.0"
COURSE = "window-course"
STEPS = 16  # Parts of a window; 8 and 32 were no better
LOUDNESS = 0.5  # Of the course, where other blocks of local features have 1
LICENCE = "Apache-2.0"  # The project's own: there are no weights
_NAME = re.compile(COURSE + r"-([1-9][0-9]{0,2})")


def course_name(channels: int) -> str:
    """How ``client.yaml`` names the course of windows with so many channels."""
    return f"{COURSE}-{channels}"


def channels_of(name: str) -> int:
    """The number of channels in such a name; 0: it is none."""
    match = _NAME.fullmatch(name)
    channels = int(match[1]) if match else 0
    return channels if channels <= CHANNELS_LIMIT else 0


def loudness_of(name: str) -> float:
    """How loud the features of a local encoder of this name are, beside other blocks."""
    return LOUDNESS if channels_of(name) else 1.0


def digest(name: str) -> str:
    """SHA-256 of all that is fixed in the features, hex: there are no weights."""
    return hashlib.sha256(f"{name} {STEPS} course-1".encode()).hexdigest()
