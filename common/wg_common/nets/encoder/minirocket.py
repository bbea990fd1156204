"""MiniRocket (Dempster et al. 2021, arXiv 2012.08791), fitted on a plant's windows.

84 kernels, each at up to 32 dilations, are convolved with a window. Each of the 9,996 features is
the share of a convolution's outputs (responses) above a threshold. Thresholds are quantiles of the
responses to training windows, at levels from multiples of the golden ratio. Labels are not used.
With several channels, each kernel runs on the sum of one to nine of them, as in the library aeon;
``bench.minirocket`` compares the results.
"""

import itertools
import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

KERNEL_SAMPLES = 9  # Length of a kernel, and smallest number of samples of a window
KERNEL_COUNT = math.comb(KERNEL_SAMPLES, 3)  # 84: one kernel for each position of three weights
FEATURE_COUNT = 10_000 // KERNEL_COUNT * KERNEL_COUNT  # 9,996: equally many for each kernel
_MOST_DILATIONS = 32  # Largest number of dilations of a kernel
MOST_MIXED_CHANNELS = 9  # Largest number of channels that a kernel sums, as in aeon
_BATCH_SAMPLES = 4096  # Approximate number of samples, per channel, of all windows in a batch

Windows = NDArray[np.float32]


class MiniRocket(nn.Module):
    """MiniRocket transform of windows ``[n, C, T]`` to features ``[n, F]``.

    Args:
        channel_count: Number of channels C.
        sample_count: Number of samples of the shortest training window, at least
            ``KERNEL_SAMPLES``.
        feature_count: Number of features F, a multiple of 84.
    """

    mixes: Tensor
    thresholds: Tensor
    kernels: Tensor

    def __init__(
        self, channel_count: int, sample_count: int, feature_count: int = FEATURE_COUNT
    ) -> None:
        super().__init__()
        per_kernel = feature_count // KERNEL_COUNT
        dilation_count = min(per_kernel, _MOST_DILATIONS)
        steps = np.logspace(0, np.log2((sample_count - 1) / 8), dilation_count, base=2).astype(int)
        dilations, counts = np.unique(steps, return_counts=True)
        counts = (counts * (per_kernel / dilation_count)).astype(int)
        remainder = np.arange(per_kernel - counts.sum()) % len(counts)
        counts += np.bincount(remainder, minlength=len(counts))
        self._dilations, self._counts = dilations.tolist(), counts.tolist()
        self.register_buffer("kernels", minirocket_kernels(), persistent=False)
        self.register_buffer("mixes", torch.zeros(len(counts), KERNEL_COUNT, channel_count))
        self.register_buffer("thresholds", torch.zeros(per_kernel, KERNEL_COUNT))

    @classmethod
    def fit(
        cls, windows: Windows, rng: np.random.Generator, feature_count: int = FEATURE_COUNT
    ) -> "MiniRocket":
        """Fit a MiniRocket module on training windows.

        Args:
            windows: Training windows ``[n, C, T]``, n at least 1.
            rng: Generator that draws the channels of each kernel, and the window of each threshold.
            feature_count: Number of features F, a multiple of 84.
        """
        _, channels, time = windows.shape
        rocket = cls(channels, time, feature_count)
        rocket.mixes.copy_(
            torch.from_numpy(_draw_channel_masks(channels, len(rocket._counts), rng))
        )
        golden = (np.arange(1, feature_count + 1) * (np.sqrt(5) + 1) / 2) % 1
        quantiles = iter(torch.from_numpy(golden.astype(np.float32)))
        ends = np.cumsum(rocket._counts)
        for number, kernel in np.ndindex(len(ends), KERNEL_COUNT):
            example = torch.from_numpy(windows[rng.integers(len(windows))][None])
            answer = rocket._kernel_responses(example, number, slice(kernel, kernel + 1))
            count = rocket._counts[number]
            levels = torch.stack(list(itertools.islice(quantiles, count)))
            rows = slice(ends[number] - count, ends[number])
            rocket.thresholds[rows, kernel] = torch.quantile(answer, levels)
        return rocket

    def forward(self, windows: Tensor) -> Tensor:
        """Compute MiniRocket features ``[n, F]`` of one batch of windows ``[n, C, T]``."""
        time = windows.shape[-1]
        columns = []
        ends = itertools.accumulate(self._counts, initial=0)
        for number, (start, end) in enumerate(itertools.pairwise(ends)):
            thresholds = self.thresholds[start:end]
            answers, edge = self._kernel_responses(windows, number), 4 * self._dilations[number]
            for turn, inner in enumerate((answers, answers[..., edge : time - edge])):
                kernels = slice((turn + number) % 2, None, 2)
                near = inner[kernels].contiguous()
                above = torch.empty_like(near)  # reused for each level: three times as fast
                for level in thresholds[:, kernels, None, None]:
                    columns.append(torch.gt(near, level, out=above).mean(dim=-1))
        return torch.cat(columns).T

    def features(self, windows: Windows) -> NDArray[np.float32]:
        """Compute MiniRocket features ``[n, F]`` of any number of windows, in batches."""
        step = max(1, _BATCH_SAMPLES // windows.shape[-1])
        with torch.inference_mode():
            parts = [
                self(torch.from_numpy(windows[start : start + step]))
                for start in range(0, len(windows), step)
            ]
        return np.asarray(torch.cat(parts).numpy())

    def _kernel_responses(
        self, windows: Tensor, dilation_index: int, kernels: slice = slice(None)
    ) -> Tensor:
        """Convolve windows with kernels at one dilation; the responses are ``[kernels, n, T]``."""
        dilation = self._dilations[dilation_index]
        n, channels, time = windows.shape
        wider = F.pad(windows, (4 * dilation, 4 * dilation))
        near = wider.unfold(-1, 8 * dilation + 1, 1)[..., ::dilation]  # [n, C, T, 9]
        columns = near.permute(1, 3, 0, 2).reshape(9 * channels, n * time)
        weights = self.mixes[dilation_index, kernels, :, None] * self.kernels[kernels, None]
        return (weights.flatten(1) @ columns).reshape(-1, n, time)


def minirocket_kernels() -> Tensor:
    """Return MiniRocket's 84 convolution kernels, ``[84, 9]``."""
    kernels = torch.full((KERNEL_COUNT, 9), -1.0)
    for row, places in enumerate(itertools.combinations(range(9), 3)):
        kernels[row, list(places)] = 2.0
    return kernels


def _draw_channel_masks(
    channel_count: int, dilation_count: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Draw the 1 to 9 channels that each kernel sums at each dilation: 0 or 1, ``[.., 84, C]``."""
    size = dilation_count, KERNEL_COUNT
    largest = np.log2(min(channel_count, MOST_MIXED_CHANNELS) + 1)
    count = np.floor(2 ** rng.uniform(0, largest, size))
    order = rng.random((*size, channel_count)).argsort(axis=-1).argsort(axis=-1)
    return np.asarray(order < count[..., None], dtype=np.float32)
