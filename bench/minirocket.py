"""MiniRocket for windows of several channels (Dempster et al. 2021, arXiv 2012.08791).

A baseline, written after the paper: 84 kernels, 9,996 shares of positive values, biases from
quantiles of training windows under the golden ratio, padding in turns. aeon's and sktime's
transforms need numba, which does not run beside this project's numpy; on three data sets, two draws
and 5 and 20 labels a class aeon 1.6 with ridge regression is within a point of this.
"""

import itertools
import warnings

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import RidgeClassifierCV

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Windows = NDArray[np.float32]

KERNELS = 84
FEATURES = 9996
_MOST_DILATIONS = 32
_MOST_CHANNELS = 9
_BATCH = 32


class MiniRocket:
    """The transform, fitted on training windows ``[n, C, T]``; no label is looked at.

    Args:
        rng: Of mixes of channels and of the windows that give biases.
        features: About how many; a multiple of 84.
    """

    def __init__(
        self, windows: Windows, rng: np.random.Generator, features: int = FEATURES
    ) -> None:
        _, channels, time = windows.shape
        each = features // KERNELS
        exponent = np.log2(max(time - 1, 8) / 8)
        steps = np.logspace(0, exponent, min(each, _MOST_DILATIONS), base=2).astype(int)
        self._dilations, counts = np.unique(steps, return_counts=True)
        shares = counts * (each / len(steps))
        self._counts = np.diff(np.floor(np.cumsum(np.concatenate([[0.0], shares])) + 1e-6))
        self._kernels = torch.full((KERNELS, 1, 9), -1.0)
        for row, places in enumerate(itertools.combinations(range(9), 3)):
            self._kernels[row, 0, list(places)] = 2.0
        self._mixes = torch.from_numpy(_mixes(channels, len(self._dilations), rng))
        golden = (np.arange(1, each * KERNELS + 1) * (np.sqrt(5) + 1) / 2) % 1
        quantiles = iter(torch.from_numpy(golden.astype(np.float32)))
        self._biases: list[torch.Tensor] = []
        for number, count in enumerate(self._counts.astype(int)):
            rows = rng.integers(0, len(windows), KERNELS)
            answers = self._answers(windows[rows], number)
            found = [
                torch.quantile(answers[j, j], torch.stack(list(itertools.islice(quantiles, count))))
                if count
                else torch.zeros(0)
                for j in range(KERNELS)
            ]
            self._biases.append(torch.stack(found))

    def features(self, windows: Windows) -> Floats:
        """Shares of positive values, ``[n, features]``."""
        found = []
        for start in range(0, len(windows), _BATCH):
            rows = []
            for number, biases in enumerate(self._biases):
                answers = self._answers(windows[start : start + _BATCH], number)
                edge = 4 * int(self._dilations[number])
                inside = answers[..., edge : answers.shape[-1] - edge]
                for turn, seen in enumerate((answers, inside)):
                    kernels = slice((turn + number) % 2, None, 2)
                    near, levels = seen[:, kernels].contiguous(), biases[kernels].T[..., None]
                    rows += [(near > level).float().mean(dim=-1) for level in levels]
            found.append(torch.cat(rows, dim=1))
        return torch.cat(found).nan_to_num().numpy().astype(np.float64)

    def _answers(self, windows: Windows, number: int) -> torch.Tensor:
        """What kernels of one dilation answer, ``[n, 84, T]``."""
        dilation = int(self._dilations[number])
        x = torch.from_numpy(windows)
        n, channels, time = x.shape
        rows = F.conv1d(
            x.reshape(-1, 1, time), self._kernels, padding=4 * dilation, dilation=dilation
        )
        both = rows.reshape(n, channels, KERNELS, time)
        return torch.einsum("ncjt,jc->njt", both, self._mixes[:, number])


def ridge(train: Floats, labels: Ints, test: Floats, *, standardise: bool = True) -> Ints:
    """Classes of test records by ridge regression; its penalty is chosen by leave-one-out."""
    if len(np.unique(labels)) < 2:
        return np.full(len(test), labels[0])
    if standardise:
        mean, std = train.mean(axis=0), train.std(axis=0)
        std = std + 1e-2 * float(std.mean()) + 1e-9
        train, test = (train - mean) / std, (test - mean) / std
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = RidgeClassifierCV(np.logspace(-3, 5, 17)).fit(train, labels)
    return np.asarray(model.predict(test), dtype=np.int64)


def _mixes(channels: int, dilations: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Which channels each kernel adds up, 0 or 1, ``[84, dilations, C]``: 1 to 9, log-uniformly."""
    size = KERNELS, dilations
    most = np.log2(min(channels, _MOST_CHANNELS) + 1)
    count = np.floor(2 ** rng.uniform(0, most, size))
    order = rng.random((*size, channels)).argsort(axis=-1).argsort(axis=-1)
    return np.asarray(order < count[..., None], dtype=np.float32)
