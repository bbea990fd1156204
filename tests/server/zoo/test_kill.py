import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from wg_server.home import ServerHome
from wg_server.zoo.build import build
from wg_server.zoo.plan import ZooPlan, parse, tasks
from wg_server.zoo.store import Zoo

PLAN = """
seed: 5
encoder: {pixels: 32, dimension: 8, images: 64}
sources:
  - {kind: procedural, families: 6, sites: 4, per_class: 8}
"""
WORDS = "from wg_server.zoo.cli import zoo; from wg_common import cli; cli.run(zoo)"


def test_a_build_killed_at_any_moment_goes_on(tmp_path: Path) -> None:
    home = ServerHome(tmp_path / "server")
    plan_file = tmp_path / "zoo.yaml"
    plan_file.write_text(PLAN)
    words = ["build", "--home", str(home.root), "--plan", str(plan_file)]
    process = subprocess.Popen(
        [sys.executable, "-c", WORDS, *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 120
    while not list((home.zoo / "entries").glob("*.json")):
        assert process.poll() is None, "the build ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {entry.key: entry.sha256 for entry in Zoo(home.zoo).entries()}
    plan = parse(PLAN.encode(), ZooPlan, "plan")
    done = build(home, plan, workers=1, progress=lambda _done, _detail: None)
    assert done.kept == len(before) > 0
    assert done.made + done.kept == len(tasks(plan))
    after = {entry.key: entry.sha256 for entry in Zoo(home.zoo).entries()}
    assert before.items() <= after.items()
    for entry in Zoo(home.zoo).entries():
        Zoo(home.zoo).read(entry)
