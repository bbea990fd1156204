"""Small network on envelope spectra, for windows of rotating machines.

Each passage over a damaged part of a bearing excites the structure, which gives lines in the
envelope spectrum of a resonant band (Randall and Antoni, *Rolling element bearing diagnostics*,
MSSP 25, 2011). The inputs are log envelope spectra of four bands, a coarse log spectrum of the
window, and the peakedness of each band. Frequencies are in cycles per ``WINDOW_SAMPLES`` samples.
At which frequency a fault has its line depends on the machine; the first layer, which the server's
generator makes from the machine's data sheet, has this knowledge.

A window is cut into pieces of ``WINDOW_SAMPLES`` samples. Its inputs are averages, after the
logarithm, over pieces and channels. A shorter window is padded with zeros.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from wg_common.inference.hostile_tensors import Tensors
from wg_common.machines.base import HALF_BIN_COUNT, WINDOW_SAMPLES
from wg_common.nets.encoder.trunk import Records
from wg_common.nets.network import TRUNK_TENSOR_PREFIX, Batch, NetworkKind
from wg_core.privacy.schema import RELEASED_DIMENSION

ENVELOPE_BANDS = ((16, 512), (16, 160), (112, 336), (256, 500))
"""First and last frequency of each envelope's band, in cycles per piece."""
COARSE_STEP_COUNT = 64  # Number of steps in the coarse spectrum of the window
ENVELOPE_INPUT_COUNT = (
    len(ENVELOPE_BANDS) * HALF_BIN_COUNT
)  # Number of inputs that are envelope spectra; they come first
INPUT_COUNT = (
    ENVELOPE_INPUT_COUNT + COARSE_STEP_COUNT + len(ENVELOPE_BANDS)
)  # Number of inputs of the network

_HIDDEN_WIDTH = 64  # Width of the first layer
_SPECTRUM_FLOOR = 0.05  # Term added to a spectrum before its logarithm
_SPREAD_OFFSET = 0.2  # Term added to an input's spread before division
_MOST_PIECES = 8  # Largest number of pieces of a long window
_FIRST_WEIGHT, _FIRST_BIAS = (
    f"{TRUNK_TENSOR_PREFIX}first.weight",
    f"{TRUNK_TENSOR_PREFIX}first.bias",
)


class SpectrumLines(nn.Module):
    """Trunk from prepared windows ``[n, INPUT_COUNT]`` to features ``[n, RELEASED_DIMENSION]``."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(INPUT_COUNT, _HIDDEN_WIDTH)
        self.second = nn.Linear(_HIDDEN_WIDTH, RELEASED_DIMENSION)

    def forward(self, spectra: Tensor) -> Tensor:
        """Return features ``[n, RELEASED_DIMENSION]`` of prepared windows ``[n, INPUT_COUNT]``."""
        return F.gelu(self.second(F.gelu(self.first(spectra))))


def piece_inputs(pieces: Tensor) -> Tensor:
    """Compute network inputs ``[n, INPUT_COUNT]`` of window pieces ``[n, WINDOW_SAMPLES]``."""
    deviations = pieces - pieces.mean(dim=1, keepdim=True)
    x = (deviations / (deviations.square().mean(dim=1, keepdim=True).sqrt() + 1e-12)).float()
    taper = torch.hann_window(WINDOW_SAMPLES, dtype=x.dtype)
    lines = torch.fft.fft(x)  # [n, WINDOW]
    envelopes, peaks = [], []
    for lowest, last in ENVELOPE_BANDS:
        # The analytic signal of a band, shifted to 0 Hz and sampled at a rate that fits its width.
        size = WINDOW_SAMPLES if last - lowest > WINDOW_SAMPLES // 4 else WINDOW_SAMPLES // 2
        band = F.pad(lines[:, lowest:last], (0, size - (last - lowest)))
        envelope = torch.fft.ifft(band).abs()  # [n, size]
        envelope = envelope / (envelope.mean(dim=1, keepdim=True) + 1e-12) - 1
        peaks.append((envelope.square().mean(dim=1, keepdim=True) + 1e-3).log() + 1.2)
        tapered_envelope = envelope * taper[:: WINDOW_SAMPLES // size]
        spectrum = (
            torch.fft.rfft(tapered_envelope, n=2 * size)[:, :HALF_BIN_COUNT].abs() * size**-0.5
        )
        envelopes.append(
            ((spectrum * (size / WINDOW_SAMPLES) ** 0.5 + _SPECTRUM_FLOOR).log() + 1.4) / 0.5
        )
    raw_spectrum = torch.fft.rfft(x * taper)[:, : WINDOW_SAMPLES // 2].abs() * WINDOW_SAMPLES**-0.5
    coarse = raw_spectrum.unflatten(1, (COARSE_STEP_COUNT, -1)).mean(dim=2)
    return torch.cat([*envelopes, (coarse + _SPECTRUM_FLOOR).log() + 1.5, *peaks], dim=1)


def template_weighted_sums(inputs: Tensor, templates: Tensor) -> Tensor:
    """Return products ``[m, n, B * T]`` of each of B bands' envelope spectra with each template.

    Args:
        inputs: Network inputs of n windows from each of m machines, ``[m, n, INPUT_COUNT]``.
        templates: T weight functions with peaks at the declared lines, ``[m, T, HALF_BIN_COUNT]``.
    """
    machines, count = inputs.shape[:2]
    bands = inputs[..., :ENVELOPE_INPUT_COUNT].reshape(
        machines, count * len(ENVELOPE_BANDS), HALF_BIN_COUNT
    )
    heights: Tensor = bands @ templates.mT
    return heights.reshape(machines, count, -1)


def standardise_inputs(inputs: Tensor, mean: Tensor, spread: Tensor) -> Tensor:
    """Subtract ``mean`` from inputs ``[..., INPUT_COUNT]``; divide by ``spread`` + a constant."""
    return (inputs - mean) / (spread + _SPREAD_OFFSET)


def fold_standardisation(trunk: Tensors, batch: Batch) -> dict[str, NDArray[np.float32]]:
    """Return tensors of a trunk whose first layer also standardises its inputs by a batch.

    Args:
        trunk: ``trunk.*`` tensors of a network that was trained on standardised inputs.
        batch: Inputs ``[n, INPUT_COUNT]``, n at least 1.
    """
    inputs = batch.astype(np.float64)
    factor = 1 / (inputs.std(axis=0) + _SPREAD_OFFSET)
    weight = trunk[_FIRST_WEIGHT].astype(np.float64) * factor
    bias = trunk[_FIRST_BIAS] - weight @ inputs.mean(axis=0)
    with np.errstate(over="ignore"):  # features that are not finite are handled later
        return {
            **trunk,
            _FIRST_WEIGHT: weight.astype(np.float32),
            _FIRST_BIAS: bias.astype(np.float32),
        }


def rescale_to_speed(batch: Batch, frequency_factor: float) -> Batch:
    """Multiply the frequencies of envelope spectra by a factor, as for another shaft speed.

    Args:
        batch: Inputs ``[n, INPUT_COUNT]``, which are not changed.
        frequency_factor: Factor on frequencies. Values from beyond the spectrum's end repeat its
            last value.
    """
    spectra = batch[:, :ENVELOPE_INPUT_COUNT].reshape(
        len(batch), len(ENVELOPE_BANDS), HALF_BIN_COUNT
    )
    at = np.minimum(np.arange(HALF_BIN_COUNT) / frequency_factor, HALF_BIN_COUNT - 1)
    below = np.minimum(at.astype(np.intp), HALF_BIN_COUNT - 2)
    part = (at - below).astype(np.float32)
    at_new_speed = spectra[..., below] * (1 - part) + spectra[..., below + 1] * part
    return np.hstack([at_new_speed.reshape(len(batch), -1), batch[:, ENVELOPE_INPUT_COUNT:]])


def prepare_windows(windows: Records) -> NDArray[np.float32]:
    """Convert valid windows of any shapes to one batch, float32 ``[n, INPUT_COUNT]``."""
    batch = np.zeros((len(windows), INPUT_COUNT), np.float32)
    for row, window in enumerate(windows):
        batch[row] = piece_inputs(_cut_pieces(window)).mean(dim=0).numpy()
    return batch


def _cut_pieces(window: NDArray[np.floating]) -> Tensor:
    """Cut evenly spaced pieces ``[m, WINDOW_SAMPLES]`` from all channels of a window ``[C, T]``."""
    x = torch.from_numpy(window.astype(np.float64)).clone()
    x = x - x.mean(dim=1, keepdim=True)
    x = F.pad(x, (0, max(0, WINDOW_SAMPLES - x.shape[1])))
    count = min(_MOST_PIECES, 2 * (x.shape[1] // WINDOW_SAMPLES) - 1)
    starts = np.linspace(0, x.shape[1] - WINDOW_SAMPLES, count).astype(int)
    return torch.cat([x[:, start : start + WINDOW_SAMPLES] for start in starts])


NETWORK = NetworkKind(
    make_trunk=SpectrumLines,
    prepare_records=prepare_windows,
    fold_standardisation=fold_standardisation,
    rescale_to_speed=rescale_to_speed,
)
