"""Prometheus metrics: gauges from the store, and counts of requests and log lines.

Gauges are read at each scrape. Counters have names that end in ``_total``. Label values are
bounded: enrolled sites, or a fixed vocabulary. If the store cannot be read, its metrics are left
out, and ``weightgate_ready`` shows it. ``deploy/monitoring`` has alert rules and a dashboard.
"""

import logging
import platform
import shutil
import time
from collections import Counter as Count
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wg_common.auditor_record import BUDGET_UNKNOWN
from wg_core import __version__
from wg_core.errors import WgError
from wg_server.console.health_probes import HealthProbe, certificate_expiries
from wg_server.site.backup_records import LastBackup
from wg_server.site.home import ServerHome
from wg_server.store import ledger_succession, quarantine, site_refusals
from wg_server.store.queue import CampaignQueue
from wg_server.store.server_store import ServerStore
from wg_server.store.stored_site import StoredSite

log = logging.getLogger(__name__)

METRIC_PREFIX = "weightgate_"
OnlineSitesLookup = Callable[
    [Iterable[StoredSite]], Set[str]
]  # Returns the names of connected sites
DURATION_BUCKET_SECONDS = (0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0)
"""Upper bounds of the histogram buckets of request times, in seconds."""
_SITE_METRIC_TEXTS = {
    "site_online": "Whether a site's node is connected.",
    "site_last_seen_timestamp_seconds": (
        "A site's last request that was let in; its enrolment, until there is one."
    ),
    "site_certificate_expiry_timestamp_seconds": "End of a site's newest certificate.",
}


class ServerMetrics:
    """All metrics of one server."""

    def __init__(
        self,
        home: ServerHome,
        store: ServerStore,
        probes: Sequence[HealthProbe],
        find_online_sites: OnlineSitesLookup,
    ) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_StoreCollector(home, store, probes, find_online_sites))
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            f"{METRIC_PREFIX}requests",
            "Requests that were answered, by listener and class of status.",
            ["listener", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            f"{METRIC_PREFIX}request_seconds",
            "Time from a request's head to the end of its answer.",
            ["listener"],
            buckets=DURATION_BUCKET_SECONDS,
            registry=self.registry,
        )
        self._lines = Counter(
            f"{METRIC_PREFIX}log_lines",
            "Lines of the server's log that ask for a person.",
            ["level"],
            registry=self.registry,
        )
        for level in ("warning", "error"):
            self._lines.labels(level)  # creates the series, so that its first increase is seen

    def add_request_meter(self, app: Starlette, listener_name: str) -> Starlette:
        """Add an outermost middleware that counts requests to an application, and return it."""
        app.add_middleware(_RequestMeter, self._requests, self._seconds, listener_name)
        return app

    def log_handler(self) -> logging.Handler:
        """Return a log handler that counts warnings and errors."""
        return _LogLineCounter(self._lines)


class _RequestMeter:
    """Middleware that counts requests and their durations."""

    def __init__(
        self,
        app: ASGIApp,
        request_counter: Counter,
        duration_histogram: Histogram,
        listener_name: str,
    ) -> None:
        self._app = app
        self._requests = request_counter
        self._seconds = duration_histogram
        self._listener = listener_name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI scope, and count the request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, start = "none", time.monotonic()

        async def send_counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = f"{message['status'] // 100}xx"
            await send(message)

        try:
            await self._app(scope, receive, send_counted)
        finally:
            self._requests.labels(self._listener, status).inc()
            self._seconds.labels(self._listener).observe(time.monotonic() - start)


class _LogLineCounter(logging.Handler):
    """Log handler that counts lines by level."""

    def __init__(self, counter: Counter) -> None:
        super().__init__(logging.WARNING)
        self._counter = counter

    def emit(self, record: logging.LogRecord) -> None:
        """Count one log line by its level."""
        self._counter.labels("error" if record.levelno >= logging.ERROR else "warning").inc()


class _StoreCollector(Collector):
    """Collector of the metrics that are read from home and store at each scrape."""

    def __init__(
        self,
        home: ServerHome,
        store: ServerStore,
        probes: Sequence[HealthProbe],
        find_online_sites: OnlineSitesLookup,
    ) -> None:
        self._home = home
        self._store = store
        self._probes = probes
        self._online = find_online_sites

    def describe(self) -> Iterable[Metric]:
        """Return no names, so that registration does not read the store."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics with their current values."""
        labels = {"version": __version__, "python": platform.python_version()}
        yield _gauge("build_info", "The program that runs.", [(labels, 1)])
        checks = [({"check": probe.name}, int(probe.is_healthy())) for probe in self._probes]
        yield _gauge("ready", "Whether the server can work, by check.", checks)
        for part in (self._home_metrics, self._site_metrics, self._campaign_metrics):
            try:
                yield from list(part())
            except (WgError, OSError) as error:
                log.warning("metrics: left out: %s", error)

    def _home_metrics(self) -> Iterator[Metric]:
        free = shutil.disk_usage(self._home.root).free
        yield _gauge("disk_free_bytes", "Free on the disk of the home.", [({}, free)])
        yield _gauge(
            "certificate_expiry_timestamp_seconds",
            "End of the certificate of the server, and of its authority.",
            [
                ({"certificate": name}, end)
                for name, end in certificate_expiries(self._home).items()
            ],
        )
        last = LastBackup.load(self._home)
        yield _gauge(
            "last_backup_timestamp_seconds",
            "Beginning of the newest backup; 0: none was made.",
            [({}, last.created if last else 0)],
        )

    def _site_metrics(self) -> Iterator[Metric]:
        states: Count[str] = Count()
        connected_count, unknown = 0, 0
        per_site = [_gauge(name, text, []) for name, text in _SITE_METRIC_TEXTS.items()]
        for page in self._store.site_pages():
            names, enrolled_sites = (
                [s.name for s in page],
                [s for s in page if s.state == "enrolled"],
            )
            online, statuses = (
                self._online(enrolled_sites),
                site_refusals.site_statuses_by_name(self._store, site_names=names),
            )
            states.update(site.state for site in page)
            connected_count += len(online)
            successions = ledger_succession.classify_successions_by_site(
                page, self._store.logs_of_sites(names)
            )
            unknown += list(successions.values()).count(BUDGET_UNKNOWN)
            for s in enrolled_sites:
                if statuses[s.name].uses_files:
                    continue  # its node is not expected to connect
                values = (
                    s.name in online,
                    max(s.last_seen, s.enrolled),
                    statuses[s.name].certificate_expiry,
                )
                for gauge, value in zip(per_site, values, strict=True):
                    gauge.add_sample(gauge.name, {"site": s.name}, float(value or 0))
        yield _gauge("nodes_online", "Nodes that are connected.", [({}, connected_count)])
        yield _gauge_by_state("sites", "Sites, by state.", states)
        yield from per_site
        yield _gauge(
            "budget_unknown", "Sites with an earlier ledger that is not named.", [({}, unknown)]
        )
        quarantined_count = len(
            quarantine.list_release_summaries(self._store.engine, "quarantined")
        )
        yield _gauge("quarantined", "Releases in quarantine.", [({}, quarantined_count)])
        yield _counter(
            "fork_evidence",
            "Pieces of evidence of ledgers with two histories.",
            self._store.count_fork_evidence(),
        )

    def _campaign_metrics(self) -> Iterator[Metric]:
        queue = CampaignQueue(self._store.engine)
        totals = queue.count_totals()
        yield _gauge_by_state("campaigns", "Campaigns, by state.", totals.campaign_counts_by_state)
        yield _gauge_by_state(
            "tasks", "Sites' parts in campaigns, by state.", totals.task_counts_by_state
        )
        yield _counter("received_bytes", "Payload received from sites.", totals.bytes_received)
        yield _counter("sent_bytes", "Payload sent to sites.", totals.bytes_sent)
        oldest = queue.oldest_queued_campaign_time()
        yield _gauge(
            "queued_campaign_oldest_timestamp_seconds",
            "When the oldest campaign was queued that is not begun; none: all are.",
            [] if oldest is None else [({}, oldest)],
        )
        failure = queue.newest_failure_time()
        yield _gauge(
            "failed_campaign_newest_timestamp_seconds",
            "When a campaign failed last; none: none did.",
            [] if failure is None else [({}, failure)],
        )


def _gauge(
    name: str, help_text: str, labelled_values: Iterable[tuple[Mapping[str, str], float]]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(METRIC_PREFIX + name, help_text)
    for labels, value in labelled_values:
        family.add_sample(METRIC_PREFIX + name, dict(labels), value)
    return family


def _gauge_by_state(name: str, help_text: str, counts: Mapping[str, int]) -> GaugeMetricFamily:
    return _gauge(name, help_text, [({"state": state}, counts[state]) for state in sorted(counts)])


def _counter(name: str, help_text: str, value: int) -> CounterMetricFamily:
    return CounterMetricFamily(METRIC_PREFIX + name, help_text, value=value)
