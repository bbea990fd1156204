"""One record more changes no other record's features, to the last bit, by construction."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.patience import PATIENCE_SECONDS

from wg_common.nets.encoder import image_trunk, record_isolation, window_trunk
from wg_common.nets.encoder import projected_trunk as encoders
from wg_common.nets.encoder.projected_trunk import Encoder
from wg_common.nets.encoder.projection_fit import fit_encoder
from wg_core.privacy.exact_statistics import exact_statistics
from wg_core.privacy.schema import default_schema

PLACES = 34
"""One more than a batch of matrix kernels and the next one's first row."""
WITH_MKL_OF_AVX2 = {"MKL_ENABLE_INSTRUCTIONS": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2"}


def fitted(modality: str) -> bytes:
    """An encoder with weights of its own: what is tested is arithmetic, and not what it sees."""
    rng = np.random.default_rng(0)
    width = image_trunk.FEATURE_COUNT if modality == "images" else window_trunk.FEATURE_COUNT
    raw = rng.normal(size=(200, width)).astype(np.float32)
    groups, labels = np.arange(200) % 5, np.arange(200) % 3
    if modality == "images":
        return fit_encoder(raw, groups, trunk_settings={"pixels": "64"})
    return fit_encoder(raw, groups, labels, modality="windows")


def records(modality: str) -> list[NDArray[Any]]:
    """Records of several sizes, some of them in memory that is aligned to a byte only."""
    rng = np.random.default_rng(1)
    found: list[NDArray[Any]] = []
    for number in range(PLACES):
        if modality == "images":
            shape = (32 + number % 3, 32) if number % 2 else (32, 32, 3)
            record: NDArray[Any] = rng.integers(0, 256, shape, dtype=np.uint8)
        else:
            record = rng.normal(size=(1 + number % 3, 64)).astype(np.float32)
        found.append(_unaligned(record) if number % 4 == 1 else record)
    return found


def _unaligned(record: NDArray[Any]) -> NDArray[Any]:
    room = np.zeros(record.nbytes + 64, np.uint8)
    start = (4 - room.ctypes.data) % 64  # four bytes behind a multiple of 64
    view = room[start : start + record.nbytes].view(record.dtype).reshape(record.shape)
    view[...] = record
    return view


def statements(package: bytes) -> dict[str, Any]:
    """What this process finds; also run by itself, in processes of other arithmetic."""
    encoder = encoders.load_encoder(package)
    data = records(encoder.modality)
    together = encoder.encode(data)
    alone = [encoder.encode([record])[0] for record in data]
    copies = encoder.encode([data[5]] * PLACES)
    backwards = encoder.encode(data[::-1])[::-1]
    local = encoder.encode_local(data[:3])
    order = [7, 3, 5]
    return {
        "alone is together": bool(np.array_equal(together, alone)),
        "at every place": bool((copies == together[5]).all()),
        "backwards": bool(np.array_equal(backwards, together)),
        "in other company": bool(
            np.array_equal(encoder.encode([data[row] for row in order]), together[order])
        ),
        "local begins with released": bool(
            np.array_equal(local[:, : encoder.dimension], together[:3])
        ),
        "digest": hashlib.sha256(together.tobytes()).hexdigest(),
        "batches depend on place": _batches_depend_on_place(),
    }


def _batches_depend_on_place() -> bool:
    """Whether this process multiplies matrices in the way that the test is there for."""
    rng = np.random.default_rng(2)
    x = torch.from_numpy(rng.normal(size=(32, image_trunk.FEATURE_COUNT)).astype(np.float32))
    y = torch.from_numpy(rng.normal(size=(image_trunk.FEATURE_COUNT, 64)).astype(np.float32))
    rows = x[:1].repeat(32, 1) @ y
    return not bool((rows == rows[0]).all())


HOLDS = {
    "alone is together": True,
    "at every place": True,
    "backwards": True,
    "in other company": True,
    "local begins with released": True,
}


@pytest.fixture(scope="module", params=["images", "windows"])
def package(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder package of either kind, as a file."""
    path = tmp_path_factory.mktemp("encoder") / "encoder.safetensors"
    path.write_bytes(fitted(request.param))
    return path


@pytest.fixture
def encoder(package: Path) -> Encoder:
    return encoders.load_encoder(package.read_bytes())


@pytest.fixture(scope="session")
def of_intel(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment in which MKL chooses instructions as it does on Intel's processors.

    On others it knows one way only. A library of one function, loaded first, says what it asks.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        return {}
    folder = tmp_path_factory.mktemp("intel")
    source, library = folder / "intel.c", folder / "intel.so"
    source.write_text("int mkl_serv_intel_cpu_true(void) { return 1; }\n")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    return {"LD_PRELOAD": str(library)}


def _elsewhere(package: Path, environment: dict[str, str]) -> dict[str, Any]:
    words = [sys.executable, "-W", "ignore", "-m", "tests.common.nets.test_isolation"]
    done = subprocess.run(
        [*words, str(package)],
        env={**os.environ, **environment},
        cwd=Path(__file__).parents[3],
        check=True,
        capture_output=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_record_is_encoded_alone_in_aligned_memory_by_one_thread(encoder: Encoder) -> None:
    # The construction itself, whatever this machine's rounding.
    seen: list[tuple[int, int, int]] = []

    def watch(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], _: object) -> None:
        (batch,) = inputs
        seen.append(
            (
                len(batch),
                batch.data_ptr() % record_isolation.ALIGNMENT_BYTES,
                torch.get_num_threads(),
            )
        )

    trunk = encoder.module.trunk
    passes = 2 if encoder.modality == "images" else 1  # images: of each scale
    watched = trunk.get_submodule("stages") if passes == 2 else trunk
    watched.register_forward_hook(watch)
    encoder.encode(records(encoder.modality)[:6])
    encoder.encode_local(records(encoder.modality)[:6])
    assert seen == [(1, 0, 1)] * 12 * passes
    tensors = [*encoder.module.parameters(), *encoder.module.buffers()]
    assert all(tensor.data_ptr() % record_isolation.ALIGNMENT_BYTES == 0 for tensor in tensors)


def test_neither_place_nor_company_nor_process_nor_threads_change_features(package: Path) -> None:
    here = statements(package.read_bytes())
    assert {name: here[name] for name in HOLDS} == HOLDS
    there = _elsewhere(package, {"OMP_NUM_THREADS": "2"})
    assert {name: there[name] for name in HOLDS} == HOLDS
    assert there["digest"] == here["digest"]


def test_it_holds_where_mkl_uses_avx2(package: Path, of_intel: dict[str, str]) -> None:
    # There the last two rows of 32 of a product of matrices are rounded otherwise.
    found = _elsewhere(package, {**WITH_MKL_OF_AVX2, **of_intel})
    assert {name: found[name] for name in HOLDS} == HOLDS
    if not found["batches depend on place"]:
        pytest.skip("this machine's MKL rounds all rows alike: the statements hold, but untried")


def test_exact_statistics_differ_by_the_vector_of_the_record_that_is_more(encoder: Encoder) -> None:
    data = records(encoder.modality)
    schema = default_schema(
        encoder=encoder.id,
        dimension=encoder.dimension,
        labels=("a", "b"),
        clip_radius=encoder.clip_radius,
    )

    def sums(rows: list[int]) -> NDArray[np.int64]:
        features = encoder.encode([data[row] for row in rows])
        return exact_statistics(schema, features, np.array(rows, dtype=np.int64) % 2)

    everyone = list(range(PLACES))
    whole = sums(everyone)
    for one in (0, 1, 17, PLACES - 1):
        without = sums([row for row in everyone if row != one])
        np.testing.assert_array_equal(whole - without, sums([one]))


def test_batches_give_the_same_features_within_rounding(encoder: Encoder) -> None:
    data = records(encoder.modality)
    one = encoder.encode_local(data)
    np.testing.assert_allclose(encoder.encode_local_batched(data), one, rtol=1e-3, atol=1e-4)


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_blocks_of_one_thread_that_overlap_do_not_end_each_other() -> None:
    inside, go_on = threading.Event(), threading.Event()

    def other() -> None:
        with record_isolation.limit_to_one_thread():
            inside.set()
            go_on.wait(PATIENCE_SECONDS)

    worker = threading.Thread(target=other)
    with record_isolation.limit_to_one_thread():
        worker.start()
        assert inside.wait(PATIENCE_SECONDS)
        assert torch.get_num_threads() == 1
    with record_isolation.limit_to_one_thread():  # the other is still inside
        go_on.set()
        worker.join(PATIENCE_SECONDS)
        assert torch.get_num_threads() == 1
    with pytest.raises(ZeroDivisionError), record_isolation.limit_to_one_thread():
        _ = 1 / 0
    assert torch.get_num_threads() == 2


if __name__ == "__main__":
    sys.stdout.write(json.dumps(statements(Path(sys.argv[1]).read_bytes())))
