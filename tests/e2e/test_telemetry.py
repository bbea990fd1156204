"""A server under ``opentelemetry-instrument``, as the page says: what a collector gets."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import httpx
import pytest
from tests.e2e.fleet_support import enrol_plant, finished, healthy, make_home, start_campaign
from tests.e2e.test_fleet_logs import PROGRAMS
from tests.patience import PATIENCE_SECONDS, wait_until
from tests.server.console.test_sign_on import authorised, issuer

from wg_server.store.server_store import ServerStore

TRACES = pytest.importorskip(
    "opentelemetry.proto.collector.trace.v1.trace_service_pb2", reason="no extra 'otel' here"
)
PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
__all__ = ["issuer"]


class Collector(BaseHTTPRequestHandler):
    """Keeps what is sent to it, by path."""

    bodies: ClassVar[list[tuple[str, bytes]]] = []

    def do_POST(self) -> None:
        self.bodies.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(200)
        self.end_headers()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_collector_gets_traces_metrics_and_nothing_secret(tmp_path: Path, issuer: str) -> None:
    home, bodies = make_home(tmp_path / "server"), Collector.bodies
    oidc = {"issuer": issuer, "client_id": "console", "client_secret": "a-client-secret"}
    home.oidc_file.write_text(json.dumps(oidc))
    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        exported = " ".join(re.findall(r"^\$ export (OTEL.*)$", PAGE.read_text("utf-8"), re.M))
        settings = dict(word.split("=", 1) for word in exported.split())
        settings["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{server.server_port}"
        words = ["opentelemetry-instrument", "wg-server", "serve", "--home", str(home.root)]
        path = {"PATH": f"{PROGRAMS}:{os.environ['PATH']}"}
        served = subprocess.Popen(words, env={**os.environ, **settings, **path})
        try:
            wait_until(lambda: healthy(home), "the server")
            admin = f"http://127.0.0.1:{home.read_config().admin_port}"
            with httpx.Client(base_url=admin) as browser:
                back = authorised(browser, "aiko")
                assert browser.get(back).status_code == 200
                assert browser.get("/console/sites").status_code == 200
                cookies = list(browser.cookies.values())
            plant = enrol_plant(home, tmp_path / "plant-a", "plant-a")
            with plant.running():
                done = finished(home, start_campaign(home, ["plant-a"]))
        finally:
            served.send_signal(signal.SIGTERM)
            assert served.wait(PATIENCE_SECONDS) == 0
            server.shutdown()
    # The process that makes packages was started, and said that the stand-in is no generator.
    assert (done.tasks[0].state, done.tasks[0].code) == ("failed", "decode")
    spans = [
        {attribute.key: attribute.value.string_value for attribute in span.attributes}
        for path, body in bodies
        if path == "/v1/traces"
        for resource in TRACES.ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    paths = {span.get("http.target") for span in spans}
    assert {"/console/sites", "/wg/v1/enrol", "/v1/fleet/push-messages"} <= paths
    assert not {"/healthz", "/console/signed-on"} & paths
    assert any("INSERT INTO release " in span.get("db.statement", "") for span in spans)
    metrics = b"".join(body for path, body in bodies if path == "/v1/metrics")
    assert b"http.server.duration" in metrics and b"process.memory.usage" in metrics
    with ServerStore.open(home) as store:
        release = store.require_release(done.tasks[0].release_id)
    private = [*cookies, *(value for _, value in httpx.URL(back).params.multi_items())]
    private += ["a-client-secret", "aiko@example.org", release.release_id, release.signing_key]
    private += [home.admin_token.read_text().strip(), plant.home.site_secret.read_bytes().hex()]
    assert len(private) > 8 and all(map(len, private))
    assert not [x for x in private if any(x.encode() in body for _, body in bodies)]
