"""Window trunk: fixed features of sensor windows of any shape.

A window ``[C, T]`` becomes views of 1,024 samples (128 for short windows): the whole window, and
of a longer window, pieces at its own sampling rate. Each channel of a view is described by its
spectrum in logarithmic bands, the spectrum of its envelope in three bands (Randall and Antoni 2011,
MSSP 25(2)), moments, quantiles and autocorrelation, its course (an average to 32 points), responses
to the 84 kernels of MiniRocket (Dempster et al. 2021, arXiv 2012.08791) at five scales, and level.
Channels are pooled by mean, standard deviation and maximum (kernels by mean). Since pooling forgets
which channel is which, sums of channels with fixed signs are added.

Sites differ in gain and unit. So shape is described after standardisation, and size by sine and
cosine of its logarithm at three periods, which are bounded.

Nothing here is random or learnt. Each window's features are computed separately, in tensors that
hold nothing else, so they depend on the window alone to the last bit.

*Not guaranteed:* equal bits across machines or versions of torch.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from wg_common.modalities.base import Record
from wg_common.nets.encoder import window_kernels
from wg_common.nets.encoder.trunk import NamedTrunk
from wg_common.nets.encoder.window_kernels import WindowKernels
from wg_core.site.reading_config import CHANNELS_LIMIT

TRUNK_NAME = "windows-4"
VIEW_SAMPLES = 1024  # Number of samples of a view
SHORT_VIEW_SAMPLES = (
    window_kernels.RESPONSE_POSITIONS
)  # Number of samples of the views of short windows
MOST_PIECES = 4  # Largest number of pieces of a window

_SPECTRUM_BAND_COUNT = 24
_ENVELOPE_BAND_COUNT = 16
_ENVELOPE_PASS_BANDS = ((24, 96), (96, 224), (224, 513))
_SHORT_ENVELOPE_COUNT = 1  # Number of envelope bands with lines in the short grid
_AUTOCORRELATION_LAGS = (
    1,
    2,
    3,
    4,
    6,
    8,
    12,
    16,
    24,
    32,
    48,
    64,
    96,
    128,
    192,
    256,
)  # Of 1,024 samples
_QUANTILE_LEVELS = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
_COURSE_POINT_COUNT = 32
_SCALE_COUNT = 5
_RESPONSE_THRESHOLDS = (-0.6, 0.0, 0.6)
_PHASE_PERIODS = (2.0, 0.5, 0.12)
_SIGN_CODE_COUNT = 24

_FEATURE_COUNT_BY_KIND = {
    "spectrum": 2 * _SPECTRUM_BAND_COUNT,
    "envelope": len(_ENVELOPE_PASS_BANDS) * (_ENVELOPE_BAND_COUNT + 2),
    "moments": 2 + 2 * len(_QUANTILE_LEVELS) + 2 + len(_AUTOCORRELATION_LAGS),
    "course": _COURSE_POINT_COUNT,
}
LEVEL_FEATURE_COUNT = 2 + 4 * len(
    _PHASE_PERIODS
)  # Number of features for a channel's size and mean
_CODED_FEATURE_COUNT = LEVEL_FEATURE_COUNT + 6 + 8

BLOCK_SIZES: Mapping[str, int] = {
    **{
        f"{name}-{pool}": n
        for name, n in _FEATURE_COUNT_BY_KIND.items()
        for pool in ("mean", "std", "max")
    },
    "kernels-mean": 84 * _SCALE_COUNT * (len(_RESPONSE_THRESHOLDS) + 1),
    "level-mean": LEVEL_FEATURE_COUNT,
    "channels": _CODED_FEATURE_COUNT * _SIGN_CODE_COUNT,
    "together": 8,
}
"""Names and sizes of the blocks of raw features, in their order."""
FEATURE_COUNT = sum(BLOCK_SIZES.values())
FEATURE_BOUND = 1e3
"""Bound on the magnitude of every raw feature of an accepted window, by construction. A
standardised sample is at most sqrt(1024) = 32, and so are courses. Logarithms have floors of 1e-12
or more and arguments of at most 3e12 (an envelope of at most 46 over a floor of 1e-9), so they are
at most 29. Every other feature is a share, a sine, a mean product of standardised signals, or the
inverse hyperbolic sine of such a product, so it is below 32. Sums over channels under signs,
divided by the root of the number of channels, are at most sqrt(128) = 11.4 times larger: 363.
Values of at most 1e15 keep squares and their sums finite (``modalities.windows``)."""

Windows = Sequence[NDArray[np.floating]] | NDArray[np.floating]


class WindowTrunk(NamedTrunk):
    """Trunk from window views ``[n, C, 1 + S, L]`` to W raw features, ``[n, W]``.

    The views of each of C channels are the whole window and S pieces of it, in L samples each. L is
    1024, or 128 for short windows, where features that need more samples are constant.
    """

    label = TRUNK_NAME
    width = FEATURE_COUNT
    needs_process = False
    direction_count = 400
    local_block_sizes = (window_kernels.FEATURE_COUNT, FEATURE_COUNT)

    kernels: Tensor
    signs: Tensor
    bands: Tensor
    envelope_bands: Tensor
    masks: Tensor
    blank: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernels", window_kernels.unit_kernels(), persistent=False)
        self.unscaled = WindowKernels()
        self.register_buffer("signs", channel_signs(), persistent=False)
        self.register_buffer(
            "bands", _band_matrix(VIEW_SAMPLES // 2 + 1, _SPECTRUM_BAND_COUNT), persistent=False
        )
        envelope = _band_matrix(VIEW_SAMPLES // 2 + 1, _ENVELOPE_BAND_COUNT)
        self.register_buffer("envelope_bands", envelope, persistent=False)
        self.register_buffer("masks", _envelope_masks(), persistent=False)
        silent = [math.log(1e-4)] * _ENVELOPE_BAND_COUNT + [math.log(1e-3), 0.0]
        self.register_buffer("blank", torch.tensor(silent), persistent=False)

    @classmethod
    def digest(cls) -> str:
        """Return the SHA-256 of all constants that determine raw and kernel features, hex."""
        bands, lags = _ENVELOPE_PASS_BANDS, _AUTOCORRELATION_LAGS
        constants = f"{TRUNK_NAME} {BLOCK_SIZES} {bands} {lags} {_PHASE_PERIODS}"
        code = hashlib.sha256(constants.encode())
        for tensor in (window_kernels.unit_kernels(), channel_signs(), _envelope_masks()):
            code.update(tensor.numpy().tobytes())
        code.update(window_kernels.kernel_digest().encode())
        return code.hexdigest()

    @classmethod
    def released_fit_weights(cls) -> NDArray[np.float64]:
        """Return weights ``[W]`` by which all blocks of features count equally."""
        return np.concatenate([np.full(size, size**-0.5) for size in BLOCK_SIZES.values()])

    def compute_features(self, records: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        """Return raw features ``[n, W]``, and two blocks: ``WindowKernels`` and raw features."""
        raw = self(records)
        return raw, (self.unscaled(records), raw)

    def feature_bounds(self) -> float:
        """Return the common bound on the magnitudes of raw features."""
        return FEATURE_BOUND

    def prepare(self, records: Sequence[Record]) -> Tensor:
        """Convert one window ``[C, T]`` to views ``[1, C, 1 + S, L]``: whole window, S pieces."""
        return window_views(records[0])

    def forward(self, views: Tensor) -> Tensor:
        """Compute raw features ``[n, W]`` of window views ``[n, C, 1 + S, L]``."""
        mean = views.mean(dim=-1, keepdim=True)
        centred_views = views - mean
        std = centred_views.square().mean(dim=-1, keepdim=True).sqrt()
        floor = 1e-6 * mean.abs() + 1e-12
        x = centred_views / (std + floor)  # [n, C, 1 + S, L]
        overview, pieces = x[:, :, 0], x[:, :, 1:]
        course = F.adaptive_avg_pool1d(overview, _COURSE_POINT_COUNT)
        power = _power_shares(x) @ self.bands[: x.shape[-1] // 2 + 1]  # [n, C, 1 + S, B]
        log_power = torch.log(power + 1e-4)
        spectrum = torch.cat([log_power[:, :, 1:].mean(dim=2), log_power[:, :, 0]], dim=-1)
        size = level_features(mean[:, :, 0, 0], std[:, :, 0, 0])
        description = (
            spectrum,
            self._envelope_features(pieces).mean(dim=2),
            _moment_features(pieces).mean(dim=2),
            course,
        )
        columns = []
        for block in description:
            centre = block.mean(dim=1)
            variance = (block - centre.unsqueeze(1)).square().mean(dim=1)
            columns += [centre, (variance + 1e-12).sqrt(), block.amax(dim=1)]
        columns.append(self._kernel_features(pieces).mean(dim=(1, 2)))
        short = F.adaptive_avg_pool1d(log_power[:, :, 0], 6)
        channel_codes = torch.cat(
            [size, short, F.adaptive_avg_pool1d(course, 8)], dim=-1
        )  # [n, C, D]
        signs = self.signs[: views.shape[1]]  # [C, Q]
        sums = torch.einsum("ncd,cq->ndq", channel_codes, signs) / math.sqrt(views.shape[1])
        columns += [size.mean(dim=1), sums.flatten(1), _correlation_features(overview)]
        return torch.cat(columns, dim=1)

    def _envelope_features(self, x: Tensor) -> Tensor:
        """Return features ``[..., 54]`` of signals' envelopes in three bands: spectrum and size."""
        line = torch.view_as_real(torch.fft.rfft(x))  # [..., L / 2 + 1, 2]
        band_count = (
            len(_ENVELOPE_PASS_BANDS) if x.shape[-1] == VIEW_SAMPLES else _SHORT_ENVELOPE_COUNT
        )
        masks = self.masks[:band_count, : line.shape[-2], None]
        band_spectra = line.unsqueeze(-3) * masks  # [..., shown, F, 2]
        total = line.square().sum(dim=(-1, -2)).unsqueeze(-1) + 1e-9
        share = band_spectra.square().sum(dim=(-1, -2)) / total
        full = F.pad(band_spectra, (0, 0, 0, x.shape[-1] - band_spectra.shape[-2]))
        analytic = torch.fft.ifft(torch.view_as_complex(2 * full))
        size = torch.view_as_real(analytic).square().sum(dim=-1).add(1e-18).sqrt()  # [..., b, L]
        mean = size.mean(dim=-1, keepdim=True)
        deviation = size - mean
        variance = deviation.square().mean(dim=-1, keepdim=True)
        power = _power_shares(deviation / (variance.sqrt() + 1e-3 * mean + 1e-6))
        power = power @ self.envelope_bands[: power.shape[-1]]
        swing = torch.log(variance.squeeze(-1) / (mean.squeeze(-1).square() + 1e-9) + 1e-3)
        description = torch.cat(
            [torch.log(power + 1e-4), swing.unsqueeze(-1), share.sqrt().unsqueeze(-1)], dim=-1
        )
        if band_count < len(
            _ENVELOPE_PASS_BANDS
        ):  # the values of a silent band in the formulas above
            blank = self.blank.expand(
                *description.shape[:-2], len(_ENVELOPE_PASS_BANDS) - band_count, -1
            )
            description = torch.cat([description, blank], dim=-2)
        return description.flatten(-2)

    def _kernel_features(self, x: Tensor) -> Tensor:
        """Return soft shares above thresholds, and log size, of kernel responses at all scales."""
        rows = x.flatten(0, -2)  # [m, L]
        missing = int(math.log2(VIEW_SAMPLES // x.shape[-1]))
        parts = [rows.new_zeros(rows.shape[0], 84 * (len(_RESPONSE_THRESHOLDS) + 1) * missing)]
        for scale in range(missing, _SCALE_COUNT):
            # Unfold and multiply: five times as fast as a convolution with one input channel.
            stride = 2 if scale == 0 else 1
            near = F.pad(rows, (4, 4)).unfold(-1, 9, stride)  # [m, l, 9]
            answer = self.kernels @ near.transpose(1, 2)  # [m, 84, l]
            std = answer.square().mean(dim=-1, keepdim=True).sqrt()
            responses = answer.mul_(4 / (std + 1e-4))
            parts += [
                responses.clamp(4 * b - 1, 4 * b + 1).mean(dim=-1) - 4 * b
                for b in _RESPONSE_THRESHOLDS
            ]
            parts.append(torch.log(std.squeeze(-1) + 1e-2))
            rows = F.avg_pool1d(rows, 2)
        return torch.cat(parts, dim=1).reshape(*x.shape[:-1], -1)


def window_views(window: NDArray[np.floating]) -> Tensor:
    """Convert a window ``[C, T]`` to views ``[1, C, 1 + S, L]``: the whole window, then S pieces.

    L is 128 if T is at most 128, else 1024. The whole window is interpolated linearly to L, or
    averaged if T is larger. Pieces have the window's own sampling rate and are evenly spaced: as
    many as cover it, but at most 4. A window of at most 1024 samples is its only piece.
    """
    x = torch.from_numpy(np.ascontiguousarray(window, dtype=np.float32))
    x = x.clone().unsqueeze(0)  # [1, C, T], in aligned memory
    time = x.shape[-1]
    if time <= VIEW_SAMPLES:
        length = SHORT_VIEW_SAMPLES if time <= SHORT_VIEW_SAMPLES else VIEW_SAMPLES
        overview = F.interpolate(x, length, mode="linear", align_corners=True)
        return torch.stack([overview, overview], dim=2)
    count = min(MOST_PIECES, -(-time // VIEW_SAMPLES))
    starts = [round(i * (time - VIEW_SAMPLES) / (count - 1)) for i in range(count)]
    pieces = [x[..., start : start + VIEW_SAMPLES] for start in starts]
    return torch.stack([F.adaptive_avg_pool1d(x, VIEW_SAMPLES), *pieces], dim=2)


def _power_shares(x: Tensor) -> Tensor:
    """Return each spectral line's share in the power of signals, ``[..., L / 2 + 1]``."""
    # Exporters support pairs of real numbers, not complex numbers.
    power = torch.view_as_real(torch.fft.rfft(x)).square().sum(dim=-1)
    return power / (power.sum(dim=-1, keepdim=True) + 1e-9)


def level_features(mean: Tensor, std: Tensor) -> Tensor:
    """Return bounded features ``[n, C, 14]`` of each channel's mean and standard deviation."""
    rms = (mean.square() + std.square() + 1e-24).sqrt()
    columns = [mean / rms, torch.log10(std / rms + 1e-4) / 4]
    for value in (std, mean.abs()):
        decades = torch.log10(value + 1e-9)
        for period in _PHASE_PERIODS:
            turn = 2 * math.pi / period * decades
            columns += [turn.sin(), turn.cos()]
    return torch.stack(columns, dim=-1)


def _moment_features(x: Tensor) -> Tensor:
    """Return moments, quantiles, rates of change and autocorrelation of standardised signals."""
    skew = x.pow(3).mean(dim=-1)
    kurtosis = x.pow(4).mean(dim=-1)
    step = x[..., 1:] - x[..., :-1]
    size = step.square().mean(dim=-1, keepdim=True).sqrt()
    order_statistics = x.sort(dim=-1).values
    step_sizes = (step / (size + 1e-4)).abs().sort(dim=-1).values
    length = x.shape[-1]
    at = [round(q * (length - 1)) for q in _QUANTILE_LEVELS]
    at_step = [round(q * (length - 2)) for q in _QUANTILE_LEVELS]
    lags = [lag * length // VIEW_SAMPLES for lag in _AUTOCORRELATION_LAGS]
    crossings = (x[..., 1:] * x[..., :-1] < 0).float().mean(dim=-1)
    autocorrelations = [(x[..., lag:] * x[..., : length - lag]).mean(dim=-1) for lag in lags]
    columns = [
        torch.asinh(skew),
        torch.log(kurtosis + 1e-2),
        torch.log(size.squeeze(-1) + 1e-3),
        torch.log(crossings + 1e-3),
        *autocorrelations,
    ]
    tails = [torch.asinh(order_statistics[..., at]), torch.asinh(step_sizes[..., at_step])]
    return torch.cat([torch.stack(columns, dim=-1), *tails], dim=-1)


def _correlation_features(overview: Tensor) -> Tensor:
    """Return features ``[n, 8]`` of the correlations between channels: power sums and means."""
    c = overview.shape[1]
    coarse = F.adaptive_avg_pool1d(overview, 128)
    coarse = coarse - coarse.mean(dim=-1, keepdim=True)
    coarse = coarse / (coarse.square().sum(dim=-1, keepdim=True).sqrt() + 1e-6)
    matrix = coarse @ coarse.transpose(1, 2)  # [n, C, C]
    # Power sums tr(R^2), tr(R^4), ... are smooth and need no eigenvalues; divided by their bounds.
    shares = []
    power = matrix
    for _ in range(4):
        power = power @ power / c
        shares.append(power.diagonal(dim1=1, dim2=2).sum(dim=1).clamp(min=1e-12).log() / 8)
    size = matrix.abs()
    shares += [size.mean(dim=(1, 2)), size.amin(dim=(1, 2)), matrix.mean(dim=(1, 2))]
    shares.append(torch.full_like(shares[0], math.log(c) / 4))
    return torch.stack(shares, dim=1)


def channel_signs() -> Tensor:
    """Return 24 fixed signs, 1 or -1, for each of 128 channels, from a hash: ``[128, 24]``."""
    rows = []
    for channel in range(CHANNELS_LIMIT):
        digest = hashlib.sha256(f"weightgate window channel {channel}".encode()).digest()
        bits = np.unpackbits(np.frombuffer(digest, np.uint8))[:_SIGN_CODE_COUNT]
        rows.append(1.0 - 2.0 * bits.astype(np.float32))
    return torch.from_numpy(np.stack(rows))


def _band_matrix(line_count: int, band_count: int) -> Tensor:
    """Return a matrix ``[lines, bands]`` that sums spectral lines in logarithmic bands."""
    edges = np.geomspace(1, line_count, band_count + 1)
    edges = np.maximum(edges, np.arange(1, band_count + 2))  # low bands hold a line at least
    matrix = np.zeros((line_count, band_count), np.float32)
    for band in range(band_count):
        matrix[int(edges[band]) : max(int(edges[band + 1]), int(edges[band]) + 1), band] = 1
    return torch.from_numpy(matrix)


def _envelope_masks() -> Tensor:
    """Return masks ``[3, lines]`` of the spectral lines in each envelope's band."""
    masks = torch.zeros(len(_ENVELOPE_PASS_BANDS), VIEW_SAMPLES // 2 + 1)
    for row, (low, high) in enumerate(_ENVELOPE_PASS_BANDS):
        masks[row, low:high] = 1
    return masks


TRUNK = WindowTrunk
