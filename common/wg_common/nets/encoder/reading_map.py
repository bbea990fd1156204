"""Reading map: a small frozen network that computes the machine features of a window.

Plants release noisy sums of machine features, on which the server's generator is conditioned. They
are computed in two steps. First, a window's *readings* are computed from the figures of the
machine's data sheet: for a process unit its balances (``wg_common.machines.process``); for other
machines a coarse spectrum, the peakedness of bands, envelope spectra pooled over groups of
frequencies, and envelope levels at the machine's declared spectral lines. Then the reading map
turns them into ``MACHINE_DIMENSION`` numbers. It was trained together with a generator, without
labels, to describe what no data sheet declares, such as resonance, noise, and levels of lines
(``wg_server.generator.weights.reading_map_training``).

*Guarantee.* The numbers of every record, whatever its bytes, have an L2 norm of at most
``CLIP_RADIUS``, up to float32 rounding; the exact statistics clip the excess
(``wg_core.privacy.exact_statistics``). The argument: a reading that is NaN counts as its mean, and
readings are clamped, so ``check_overflow`` can bound each layer's outputs by its public weights,
and refuses a map unless the bound is far within float32. The output is divided by its norm if that
exceeds the radius. A row depends on its record, the data sheet and the map alone.

*Not guaranteed:* that a record's numbers reveal little about it; only noisy sums are released.
"""

import itertools
from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from wg_common.machines.base import HALF_BIN_COUNT, MachineKind
from wg_common.machines.process import ProcessUnit
from wg_common.machines.registry import READABLE_KINDS
from wg_common.nets import process_sensor, spectrum_lines
from wg_common.nets.spectrum_lines import ENVELOPE_BANDS, ENVELOPE_INPUT_COUNT, INPUT_COUNT
from wg_core.errors import DecodeError, VerificationError
from wg_core.privacy.schema import CLIP_RADIUS, MACHINE_DIMENSION

ReadingMaps = Mapping[str, "ReadingMap"]
"""Reading maps by the name of the machine kind that they are for."""

_TENSOR_PREFIX = (
    "machine."  # Prefix of the names of all reading maps' tensors in an encoder package
)
_HIDDEN_WIDTH = 128  # Width of each hidden layer
_STANDARDISED_BOUND = 16.0  # Largest deviation of a reading from its mean, in standard deviations
LAYER_OUTPUT_BOUND = 1e12  # Largest magnitude of a layer's outputs for any record
_POOLING_EDGES = np.unique(np.geomspace(1, HALF_BIN_COUNT, 31).round().astype(int)).tolist()
"""First half bin of each group for pooling an envelope spectrum, and the end of the last group."""


class ReadingMap(nn.Module):
    """Network from the R readings of a window to machine features, for machines of one kind.

    Attributes:
        centre: Mean of each reading over public machines, ``[R]``.
        spread: Standard deviation of each reading over public machines, ``[R]``, positive.
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, kind: MachineKind | ProcessUnit) -> None:
        super().__init__()
        size = reading_count(kind)
        self.register_buffer("centre", torch.zeros(size))
        self.register_buffer("spread", torch.ones(size))
        self.layers = nn.Sequential(
            nn.Linear(size, _HIDDEN_WIDTH),
            nn.GELU(),
            nn.Linear(_HIDDEN_WIDTH, _HIDDEN_WIDTH),
            nn.GELU(),
            nn.Linear(_HIDDEN_WIDTH, MACHINE_DIMENSION),
        )

    def forward(self, readings: Tensor) -> Tensor:
        """Map readings ``[..., R]`` to ``[..., MACHINE_DIMENSION]``, of L2 norms at most 1."""
        scores = torch.nan_to_num((readings - self.centre) / self.spread)
        numbers: Tensor = self.layers(scores.clamp(-_STANDARDISED_BOUND, _STANDARDISED_BOUND))
        norm = numbers.square().sum(dim=-1, keepdim=True).sqrt()
        return numbers * (CLIP_RADIUS / norm.clamp(min=CLIP_RADIUS))


def reading_count(kind: MachineKind | ProcessUnit) -> int:
    """Return the number R of readings of a window from a machine of this kind."""
    if isinstance(kind, ProcessUnit):
        return kind.reading_count
    return (
        INPUT_COUNT
        - ENVELOPE_INPUT_COUNT
        + len(ENVELOPE_BANDS) * (len(_POOLING_EDGES) - 1 + kind.template_count)
    )


def window_readings(spectra: Tensor, templates: Tensor) -> Tensor:
    """Compute the readings ``[m, n, R]`` of n windows from each of m machines.

    Args:
        spectra: Inputs of the windows for the network ``spectrum_lines``, ``[m, n, INPUT_COUNT]``.
        templates: T weight functions with peaks at the declared lines, ``[m, T, HALF_BIN_COUNT]``.
    """
    envelopes = spectra[..., :ENVELOPE_INPUT_COUNT].reshape(
        *spectra.shape[:2], len(ENVELOPE_BANDS), HALF_BIN_COUNT
    )
    groups = [envelopes[..., low:high] for low, high in itertools.pairwise(_POOLING_EDGES)]
    group_means = torch.stack([group.mean(dim=3) for group in groups], dim=3)
    at_lines = spectrum_lines.template_weighted_sums(spectra, templates)
    return torch.cat([spectra[..., ENVELOPE_INPUT_COUNT:], group_means.flatten(2), at_lines], dim=2)


def record_readings(
    kind: MachineKind | ProcessUnit, figures: Tensor, record: NDArray[np.floating]
) -> Tensor:
    """Compute the readings ``[R]`` of one record ``[C, T]`` of a machine with figures ``[1, f]``.

    Raises:
        DataError: The record lacks the channels or the length of the process unit's windows.
    """
    if isinstance(kind, ProcessUnit):
        return process_sensor.unit_readings(kind, figures, torch.from_numpy(record[None]).clone())[
            0
        ]
    inputs = torch.from_numpy(spectrum_lines.prepare_windows([record])).clone()
    return window_readings(inputs[None], kind.line_templates(figures))[0, 0]


def readings_to_input_weights(reading_weights: Tensor, templates: Tensor) -> Tensor:
    """Convert a linear layer on readings to the same layer on the inputs of ``spectrum_lines``.

    Args:
        reading_weights: Weights of w units on the readings of m machines, ``[m, w, R]``.
        templates: T weight functions with peaks at the declared lines, ``[m, T, HALF_BIN_COUNT]``.

    Returns:
        Weights on inputs, ``[m, w, INPUT_COUNT]``.
    """
    sizes = torch.tensor([high - low for low, high in itertools.pairwise(_POOLING_EDGES)])
    steady = INPUT_COUNT - ENVELOPE_INPUT_COUNT  # Number of readings that are inputs themselves
    first_line = steady + len(ENVELOPE_BANDS) * len(sizes)
    plain, groups = reading_weights[..., :steady], reading_weights[..., steady:first_line]
    lines = reading_weights[..., first_line:]
    by_band = groups.reshape(*groups.shape[:2], len(ENVELOPE_BANDS), len(sizes)) / sizes
    over_groups = by_band.repeat_interleave(sizes, dim=3)
    over_lines = lines.reshape(*lines.shape[:2], len(ENVELOPE_BANDS), -1) @ templates[:, None]
    envelopes = over_lines + F.pad(
        over_groups, (_POOLING_EDGES[0], HALF_BIN_COUNT - _POOLING_EDGES[-1])
    )
    return torch.cat([envelopes.flatten(2), plain], dim=2)


def maps_to_tensors(maps: ReadingMaps) -> dict[str, NDArray[np.float32]]:
    """Return reading maps as tensors for a package, named ``machine.KIND.PARAMETER``."""
    return {
        f"{_tensor_prefix(name)}{key}": value.detach().numpy().astype(np.float32)
        for name, map_of_kind in maps.items()
        for key, value in map_of_kind.state_dict().items()
    }


def maps_from_tensors(tensors: Mapping[str, NDArray[np.generic]]) -> dict[str, ReadingMap]:
    """Build reading maps in evaluation mode from the tensors of ``maps_to_tensors``.

    Raises:
        DecodeError: A tensor belongs to no known kind, or has a wrong shape.
        VerificationError: A map could overflow on some record.
    """
    maps = {}
    unread = dict(tensors)
    for name, kind in READABLE_KINDS.items():
        prefix = _tensor_prefix(name)
        values = {key: unread.pop(key) for key in tensors if key.startswith(prefix)}
        if not values:
            continue
        reading_map = ReadingMap(kind)
        shapes = {prefix + key: tuple(x.shape) for key, x in reading_map.state_dict().items()}
        if {key: value.shape for key, value in values.items()} != shapes or not all(
            value.dtype == np.float32 and np.isfinite(value).all() for value in values.values()
        ):
            raise DecodeError(f"encoder: the reading map of {name} is not one of this program")
        state = {
            key.removeprefix(prefix): torch.from_numpy(np.array(value))
            for key, value in values.items()
        }
        reading_map.load_state_dict(state)
        check_overflow(name, reading_map)
        maps[name] = reading_map.eval()
    if unread:
        raise DecodeError(
            f"encoder: {sorted(unread)[0][:64]!r} is a reading map of no kind of machine that is"
            f" known here ({', '.join(READABLE_KINDS)}); update this program"
        )
    return maps


def is_map_tensor(name: str) -> bool:
    """Return True if a tensor of an encoder package belongs to a reading map."""
    return name.startswith(_TENSOR_PREFIX)


@torch.no_grad()
def check_overflow(kind_name: str, reading_map: ReadingMap) -> None:
    """Check that no record can make a reading map overflow.

    Raises:
        VerificationError: A layer's outputs have no bound within ``LAYER_OUTPUT_BOUND``, or a
            spread is not positive.
    """
    bound = torch.full_like(reading_map.centre, _STANDARDISED_BOUND, dtype=torch.float64)
    largest = 0.0
    for layer in reading_map.layers:
        if isinstance(layer, nn.Linear):  # GELU leaves no magnitude above its input's
            bound = layer.weight.double().abs() @ bound + layer.bias.double().abs()
            largest = max(largest, float(bound.max()))
    if (
        not largest <= LAYER_OUTPUT_BOUND
        or not float(reading_map.spread.min()) >= 1 / LAYER_OUTPUT_BOUND
    ):
        raise VerificationError(
            f"encoder: the reading map of {kind_name} has numbers of up to {largest:.3g}, at most"
            f" {LAYER_OUTPUT_BOUND:g} are accepted: it could overflow on a record, and tell by that"
            " whether the record is there"
        )


def _tensor_prefix(kind_name: str) -> str:
    return f"{_TENSOR_PREFIX}{kind_name}."
