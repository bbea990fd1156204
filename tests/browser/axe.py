"""axe-core (Deque, MPL-2.0), which finds what a reader with a disability cannot use.

It is a file for tests, fetched from npm into `build` by `make test-browser`; no package holds it.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.browser.chromium import Browser

FILE = Path(__file__).parents[2] / "build/node_modules/axe-core/axe.min.js"
MISSING = "axe-core is not there: make test-browser fetches it"
SERIOUS = ("serious", "critical")


def findings(browser: Browser) -> list[str]:
    """What is serious on the page that the browser shows, a line each."""
    browser.run(FILE.read_text("utf-8") + ";0")
    found = json.loads(
        browser.run(
            "axe.run(document, {resultTypes: ['violations']}).then(r => JSON.stringify(r.violations"
            ".map(v => [v.impact, v.id, v.nodes.map(n => n.target.join(' ')).join(', ')])))"
        )
    )
    return [f"{rule}: {where}" for impact, rule, where in found if impact in SERIOUS]
