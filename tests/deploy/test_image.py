"""The container image: built from the recipe, run read-only, healthy, stopped."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.deploy.debian import make_root, needs, pip_settings, run

REPOSITORY = Path(__file__).parents[2]
BASE = "localhost/weightgate-test-base"
IMAGE = "localhost/weightgate-test-server"
VOLUME = "weightgate-test"

pytestmark = [pytest.mark.slow, needs("mmdebstrap", "podman")]


def podman(*words: str | Path) -> str:
    # runc also runs where the kernel has the first version of control groups.
    runtime = ["--runtime", "runc"] if shutil.which("runc") else []
    environment = {**os.environ, "PODMAN_IGNORE_CGROUPSV1_WARNING": "1"}
    return run("podman", *runtime, *words, env=environment)


def limits() -> list[str]:
    """Those of this process, which a container may not exceed."""
    found = []
    for name, number in (("nofile", resource.RLIMIT_NOFILE), ("nproc", resource.RLIMIT_NPROC)):
        _, most = resource.getrlimit(number)
        if most != resource.RLIM_INFINITY:
            found += ["--ulimit", f"{name}={most}:{most}"]
    return found


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("image")
    make_root(folder / "root")
    run("tar", "--create", "--file", folder / "root.tar", "--directory", folder / "root", ".")
    podman(
        "import",
        "--change",
        "ENV PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        folder / "root.tar",
        BASE,
    )
    settings = pip_settings()
    (folder / "pip.conf").write_text(settings.text)
    mounts = [f"--volume={path}:{path}:ro" for path in settings.folders]
    try:
        podman(
            *("build", "--network", "host", *limits(), *mounts),
            f"--volume={folder / 'pip.conf'}:/etc/pip.conf:ro",
            *("--build-arg", f"PYTHON={BASE}", "--build-arg", "SIDE=server"),
            *("--file", REPOSITORY / "deploy/container/Containerfile", "--tag", IMAGE, REPOSITORY),
        )
        yield IMAGE
    finally:
        for words in (("volume", "rm", "--force", VOLUME), ("rmi", "--force", IMAGE, BASE)):
            subprocess.run(["podman", *words], capture_output=True, check=False)


def test_the_image_serves_from_a_read_only_root(image: str) -> None:
    once = ["run", "--rm", "--network", "host", *limits(), "--read-only", "--tmpfs", "/tmp"]
    volume = ["--cap-drop", "all", "--volume", f"{VOLUME}:/var/lib/weightgate"]
    home = ["--home", "/var/lib/weightgate/server"]
    podman(*once, *volume, image, "init", *home, "--port", "0")
    assert "no sites" in podman(*once, *volume, image, "sites", *home)
    assert podman(*once, "--entrypoint", "id", image, "--user").strip() == "10001"
    running = podman(*once, "--detach", *volume, image).strip().splitlines()[-1]
    try:
        for _ in range(300):
            state = podman("inspect", "--format", "{{.State.Status}}", running).strip()
            assert state == "running", podman("logs", running)
            done = subprocess.run(
                ["podman", "exec", running, "health"], capture_output=True, check=False
            )
            if done.returncode == 0:
                break
            time.sleep(1)
        assert done.returncode == 0, podman("logs", running)
        stopped = podman("logs", running)
        assert "ready: weightgate" in stopped
    finally:
        said = podman("stop", "--time", "60", running)
    assert running in said
