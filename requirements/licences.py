"""Lists the licence of each component of a CycloneDX SBOM: ``licences.py SBOM OUT``."""

import json
import sys
from pathlib import Path
from typing import Any


def licences(sbom: dict[str, Any]) -> list[str]:
    """One line for each component: name, version, licences; sorted by name."""
    lines = []
    for component in sbom.get("components", ()):
        found = []
        for entry in component.get("licenses", ()):
            licence = entry.get("license", {})
            words = entry.get("expression") or licence.get("id") or licence.get("name", "")
            found.append(words.splitlines()[0][:80] if words else "")
        named = ", ".join(sorted({each for each in found if each})) or "not stated"
        lines.append(f"{component['name']} {component.get('version', '')}: {named}")
    return sorted(lines, key=str.lower)


if __name__ == "__main__":
    document = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    Path(sys.argv[2]).write_text("\n".join(licences(document)) + "\n", "utf-8")
