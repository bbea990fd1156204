"""Measures that make the features of a record depend on this record alone, to the last bit.

The sensitivity of a release is exact only if an additional record leaves every other record's
features unchanged. Batched matrix products do not guarantee this: MKL on AVX2 rounds the last two
of 32 rows differently, libraries change the order of summation with the number of rows or threads,
and results may depend on memory alignment.

So features for release are computed one record at a time, in tensors that hold nothing else, by one
thread, in memory that torch allocates at a multiple of 64 bytes. The executed instructions and
their inputs are then functions of record and encoder only, not of the record's position or of other
records, however the processor rounds.

*Not guaranteed:* equal bits on another kind of processor, or with another version of torch.
"""

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import nn

from wg_core.errors import InternalError

ALIGNMENT_BYTES = 64  # Alignment of torch's CPU allocator, in bytes

M = TypeVar("M", bound=nn.Module)

_THREAD_COUNTS_LOCK = threading.Lock()
_thread_counts: list[int] = []
"""Torch's number of threads at the start of each open ``limit_to_one_thread`` block."""


@contextmanager
def limit_to_one_thread() -> Iterator[None]:
    """Restrict torch to one thread within a ``with`` block; blocks may overlap.

    Torch's number of threads is a setting of the whole process. It is restored when the last open
    block ends, so that no block lifts the restriction of another.
    """
    with _THREAD_COUNTS_LOCK:
        _thread_counts.append(torch.get_num_threads())
        torch.set_num_threads(1)
    try:
        yield
    finally:
        with _THREAD_COUNTS_LOCK:
            before = _thread_counts.pop()
            if not _thread_counts:
                torch.set_num_threads(before)


def align_memory(module: M) -> M:
    """Copy a module's parameters and buffers, in place, to aligned memory that torch allocates.

    The alignment of tensors that share memory with NumPy differs between processes.

    Raises:
        InternalError: Torch's memory is not aligned to ``ALIGNMENT_BYTES``.
    """
    for tensor in itertools.chain(module.parameters(), module.buffers()):
        tensor.data = tensor.detach().clone()
        if tensor.device.type == "cpu" and tensor.data_ptr() % ALIGNMENT_BYTES:
            raise InternalError(f"torch: memory is not aligned to {ALIGNMENT_BYTES} bytes")
    return module
