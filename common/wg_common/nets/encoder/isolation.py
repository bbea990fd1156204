"""Features that depend on their record alone, to the last bit.

The sensitivity of a release is that of integers, and holds only if one record more leaves every
other record's features as they were. Products of matrices promise no such thing: MKL on AVX2 rounds
the last two rows of 32 otherwise than those before, libraries add in another order for another
number of rows or threads, and may start at another place in memory of another alignment.

So whatever may be released is computed with one record at a time, in tensors that hold nothing
else, by one thread, from memory of torch's own, which begins at a multiple of 64 bytes. Then the
instructions and what they are given are functions of record and encoder: neither place nor company
is among their arguments, whatever the processor's rounding.

Not guaranteed: equal bits on another kind of processor, or with another version of torch.
"""

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import nn

from wg_core.errors import InternalError

ALIGNMENT = 64  # Bytes; what torch's allocator promises on a CPU

M = TypeVar("M", bound=nn.Module)

_LOCK = threading.Lock()
_blocks: list[int] = []
"""For each block of ``one_thread`` that is open in this process: torch's threads at its start."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread in a block. Blocks may overlap, also those of several threads.

    The number that was there before comes back with the last block's end, so that none ends
    another's. MKL has one number for the process.
    """
    with _LOCK:
        _blocks.append(torch.get_num_threads())
        torch.set_num_threads(1)
    try:
        yield
    finally:
        with _LOCK:
            before = _blocks.pop()
            if not _blocks:
                torch.set_num_threads(before)


def align_memory(module: M) -> M:
    """The module with its parameters and buffers in aligned memory of torch's own.

    Those that came from numpy stand wherever it put them, in another process elsewhere.

    Raises:
        InternalError: Torch's memory is not aligned as it promises.
    """
    for tensor in itertools.chain(module.parameters(), module.buffers()):
        tensor.data = tensor.detach().clone()
        if tensor.device.type == "cpu" and tensor.data_ptr() % ALIGNMENT:
            raise InternalError(f"torch: memory is not aligned to {ALIGNMENT} bytes")
    return module
