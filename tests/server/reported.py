"""A campaign whose sites answered how good their packages are, put into a store."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence

import numpy as np

from wg_core.privacy.mechanism import sigma_for
from wg_core.privacy.quality import WEIGHT, QualityLayout
from wg_core.wire import canonical, quality_file, signing
from wg_core.wire.covered import CoveredStatistics
from wg_core.wire.quality_file import QualityManifest
from wg_core.wire.statistics_file import integers_to_bytes
from wg_server.store.campaigns import Campaign
from wg_server.store.quality import StoredReport, Subject
from wg_server.store.queue import CampaignQueue
from wg_server.store.sites import Store

CANDIDATES = ("mean", "sample-0", "closed-form")


def quality_campaign(
    store: Store, counts: Mapping[str, Sequence[int]], refused: Sequence[str] = ()
) -> Campaign:
    """Sites with their counts: labelled, then right by candidate. Ended, but for nobody."""
    queue = CampaignQueue(store.engine)
    sites = (*counts, *refused)
    words = {"epsilon": "2", "delta": "1e-5", "encoder": "e", "collect_seconds": 60.0}
    before = queue.add(sites, **words, purpose="weights", deliver_seconds=60.0)  # type: ignore[arg-type]
    queue.finish(before.id)
    found = queue.add(
        sites,
        **words,  # type: ignore[arg-type]
        purpose="quality",
        deliver_seconds=0.0,
        about=before.id,
        subjects=[_subject(site, CANDIDATES) for site in sites],
    )
    queue.pause(found.id)  # a server that runs asks nobody
    for site, values in counts.items():
        report = _report(site, _subject(site, CANDIDATES), values)
        queue.update(found.id, site, state="answered", release_id="ab" * 16, report=report)
    for site in refused:
        queue.update(found.id, site, state="refused", code="WG-TYPE-DENIED")
    return queue.finish(found.id)


def _subject(site: str, candidates: tuple[str, ...]) -> Subject:
    return Subject(
        site=site,
        delivery_id=secrets.token_hex(16),
        package_id=secrets.token_hex(16),
        package_sha256="22" * 32,
        conditioned=site.endswith("weld"),
        candidates=candidates,
    )


def _report(site: str, subject: Subject, counts: Sequence[int]) -> StoredReport:
    layout = QualityLayout(candidates=len(subject.candidates), unit_rule="record", unit_cap=1)
    integers = np.array(counts, dtype=np.int64) * WEIGHT
    key = signing.generate()
    manifest = QualityManifest(
        layout=layout,
        site=site,
        dataset="line",
        request_id="ab" * 16,
        release_id="ab" * 16,
        encoder="11" * 32,
        package_id=subject.package_id,
        package_sha256=subject.package_sha256,
        candidates=subject.candidates,
        epsilon="2",
        delta="1e-5",
        sigma=sigma_for(layout, 2.0, 1e-5).hex(),
        sensitivity_squared=str(layout.sensitivity_squared()),
        purpose="quality",
        integers_sha256=canonical.sha256_hex(integers_to_bytes(integers)),
    )
    covered = CoveredStatistics(
        quality_file.encode_report(manifest, integers, key), b"-", b"-", b"-", b"-"
    )
    return StoredReport(
        received=1.0,
        signing_key=signing.public_bytes(key).hex(),
        data=quality_file.encode_covered(covered),
    )
