"""A small network on envelope spectra, for windows of rotating machines.

A damaged rolling element bearing rings the structure at each passage; the passages are lines in the
spectrum of the envelope of a band that resonates (Randall and Antoni, *Rolling element bearing
diagnostics*, MSSP 25, 2011). A window becomes log envelope spectra of four bands, its own log
spectrum in coarse steps, and how peaked each band is. Frequencies are in cycles per ``WINDOW``
samples: which line means what depends on the machine. The first layer holds that knowledge; the
server's generator makes it from what is stated of a machine.

A longer window is the mean of half-overlapping pieces, a shorter one is padded, and channels are
averaged, all of them after the logarithm.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from wg_common.machines.base import HALF_BINS, WINDOW
from wg_common.nets.encoder.trunk import Records
from wg_common.nets.network import TRUNK, Batch, Kind, Tensors
from wg_core.privacy.schema import DIMENSION

BANDS = ((16, 512), (16, 160), (112, 336), (256, 500))
"""First and last cycles a piece of each band that an envelope is taken of."""
COARSE = 64  # Steps of the spectrum of the window itself
ENVELOPES = len(BANDS) * HALF_BINS  # Inputs that are envelope spectra, the first
INPUTS = ENVELOPES + COARSE + len(BANDS)

_WIDTH = 64  # Units of the first layer
_FLOOR = 0.05  # Below it a spectrum is nothing but rounding
_LEAST_SPREAD = 0.2  # Added to an input's spread before it is divided by it
_PIECES = 8  # At most, of a long window
_FIRST_WEIGHT, _FIRST_BIAS = f"{TRUNK}first.weight", f"{TRUNK}first.bias"


class SpectrumLines(nn.Module):
    """Prepared windows ``[n, INPUTS]`` to features ``[n, features]``."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(INPUTS, _WIDTH)
        self.second = nn.Linear(_WIDTH, DIMENSION)

    def forward(self, spectra: Tensor) -> Tensor:
        """Features ``[n, features]``."""
        return F.gelu(self.second(F.gelu(self.first(spectra))))


def spectra(pieces: Tensor) -> Tensor:
    """Inputs ``[n, INPUTS]`` of pieces ``[n, WINDOW]``, near mean 0 and deviation 1."""
    deviations = pieces - pieces.mean(dim=1, keepdim=True)
    x = (deviations / (deviations.square().mean(dim=1, keepdim=True).sqrt() + 1e-12)).float()
    taper = torch.hann_window(WINDOW, dtype=x.dtype)
    lines = torch.fft.fft(x)  # [n, WINDOW]
    envelopes, peaks = [], []
    for lowest, last in BANDS:
        # The analytic signal of a band, moved to 0 Hz and sampled as often as its width asks for.
        size = WINDOW if last - lowest > WINDOW // 4 else WINDOW // 2
        band = F.pad(lines[:, lowest:last], (0, size - (last - lowest)))
        envelope = torch.fft.ifft(band).abs()  # [n, size]
        envelope = envelope / (envelope.mean(dim=1, keepdim=True) + 1e-12) - 1
        peaks.append((envelope.square().mean(dim=1, keepdim=True) + 1e-3).log() + 1.2)
        tapered_envelope = envelope * taper[:: WINDOW // size]
        spectrum = torch.fft.rfft(tapered_envelope, n=2 * size)[:, :HALF_BINS].abs() * size**-0.5
        envelopes.append(((spectrum * (size / WINDOW) ** 0.5 + _FLOOR).log() + 1.4) / 0.5)
    raw_spectrum = torch.fft.rfft(x * taper)[:, : WINDOW // 2].abs() * WINDOW**-0.5
    coarse = raw_spectrum.unflatten(1, (COARSE, -1)).mean(dim=2)
    return torch.cat([*envelopes, (coarse + _FLOOR).log() + 1.5, *peaks], dim=1)


def line_readings(inputs: Tensor, templates: Tensor) -> Tensor:
    """Envelope spectra as templates see them, ``[m, n, bands * T]``, band by band.

    Args:
        inputs: ``[m, n, INPUTS]``.
        templates: At the stated lines of each machine, ``[m, T, HALF_BINS]``.
    """
    machines, count = inputs.shape[:2]
    bands = inputs[..., :ENVELOPES].reshape(machines, count * len(BANDS), HALF_BINS)
    heights: Tensor = bands @ templates.mT
    return heights.reshape(machines, count, -1)


def standardise_inputs(inputs: Tensor, shares: Tensor | None) -> Tensor:
    """Inputs ``[m, n, INPUTS]``, each as it stands among those of its machine.

    Args:
        shares: Weights of windows, ``[m, n]``; None where all weigh alike.
    """
    if shares is None:
        shares = torch.ones(inputs.shape[:2])
    weight = (shares / shares.sum(dim=1, keepdim=True))[..., None]
    deviations = inputs - (weight * inputs).sum(dim=1, keepdim=True)
    spread = (weight * deviations.square()).sum(dim=1, keepdim=True).sqrt()
    return deviations / (spread + _LEAST_SPREAD)


def standardised_by(inputs: Tensor, mean: Tensor, spread: Tensor) -> Tensor:
    """Inputs ``[..., INPUTS]`` as they stand among records of this mean and spread."""
    return (inputs - mean) / (spread + _LEAST_SPREAD)


def standardised_trunk(trunk: Tensors, batch: Batch) -> dict[str, NDArray[np.float32]]:
    """Fold into the first layer that inputs are standardised by a batch (``standardise_inputs``).

    Args:
        trunk: ``trunk.*`` tensors of a network that learnt on standardised inputs.
        batch: Inputs ``[n, INPUTS]``, n at least 1.
    """
    inputs = batch.astype(np.float64)
    factor = 1 / (inputs.std(axis=0) + _LEAST_SPREAD)
    weight = trunk[_FIRST_WEIGHT].astype(np.float64) * factor
    bias = trunk[_FIRST_BIAS] - weight @ inputs.mean(axis=0)
    with np.errstate(over="ignore"):  # Whoever runs it sees that it is not finite
        return {
            **trunk,
            _FIRST_WEIGHT: weight.astype(np.float32),
            _FIRST_BIAS: bias.astype(np.float32),
        }


def at_speed(batch: Batch, factor: float) -> Batch:
    """Move lines of envelope spectra to where they stand at another speed.

    Args:
        batch: Inputs ``[n, INPUTS]``.
        factor: On their frequencies. Where nothing is known beyond the last, it is repeated.
    """
    spectra = batch[:, :ENVELOPES].reshape(len(batch), len(BANDS), HALF_BINS)
    at = np.minimum(np.arange(HALF_BINS) / factor, HALF_BINS - 1)
    below = np.minimum(at.astype(np.intp), HALF_BINS - 2)
    part = (at - below).astype(np.float32)
    at_new_speed = spectra[..., below] * (1 - part) + spectra[..., below + 1] * part
    return np.hstack([at_new_speed.reshape(len(batch), -1), batch[:, ENVELOPES:]])


def prepare_windows(windows: Records) -> NDArray[np.float32]:
    """Valid windows of any shapes as one batch, float32 ``[n, INPUTS]``."""
    batch = np.zeros((len(windows), INPUTS), np.float32)
    for row, window in enumerate(windows):
        batch[row] = spectra(_pieces(window)).mean(dim=0).numpy()
    return batch


def _pieces(window: NDArray[np.floating]) -> Tensor:
    """Pieces ``[m, WINDOW]`` of all channels of a window ``[C, T]``, evenly spread over it."""
    x = torch.from_numpy(window.astype(np.float64))
    x = x - x.mean(dim=1, keepdim=True)
    x = F.pad(x, (0, max(0, WINDOW - x.shape[1])))
    count = min(_PIECES, 2 * (x.shape[1] // WINDOW) - 1)
    starts = np.linspace(0, x.shape[1] - WINDOW, count).astype(int)
    return torch.cat([x[:, start : start + WINDOW] for start in starts])


NETWORK = Kind(
    trunk=SpectrumLines,
    prepare=prepare_windows,
    fold_standardisation=standardised_trunk,
    at_speed=at_speed,
)
