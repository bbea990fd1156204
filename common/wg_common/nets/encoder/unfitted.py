"""An encoder without a package: what a plant may expect before there is a server."""

import torch

from wg_common.nets.encoder import fit
from wg_common.nets.encoder.confined_trunk import load_trunk
from wg_common.nets.encoder.module import Encoder, EncoderModule, assembled, raw_features
from wg_common.nets.encoder.trunk import Records, trunk_of


def unfitted_encoder(modality: str, dimension: int, records: Records = ()) -> Encoder:
    """The usual trunk of a modality, without any package: what is fitted on public data is zero.

    Local features that a plant scales by itself are those of every encoder on this trunk. Of the
    others only their number is right; nothing may be released of them. A trunk that has no others
    gets its local directions from ``records`` instead of public ones: they keep the distances
    between raw features, as a fitted encoder's do.

    Args:
        dimension: Number d of features that an encoder would release.
        records: Records of the modality; needed where the trunk has no ``local_blocks``.

    Raises:
        DataError: A record has another type or shape.
        DecodeError: No such modality.
        ConfigError: The trunk is not installed.
    """
    kind = trunk_of(modality)
    trunk = load_trunk(kind, modality, kind.settings())
    mean, local = torch.zeros(kind.width), torch.zeros(kind.width, kind.directions)
    if not kind.local_blocks and len(records):
        raw = raw_features(records, modality=modality)
        centre, directions = fit.local_directions(raw, kind)
        mean = torch.from_numpy(centre)
        local[:, : directions.shape[1]] = torch.from_numpy(directions)
    module = EncoderModule(trunk, mean, torch.zeros(kind.width, dimension), local).eval()
    return assembled("", modality, module, kind.settings())
