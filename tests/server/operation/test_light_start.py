"""What serving imports: torch is 185 MB of memory, and the first package's affair."""

from __future__ import annotations

import subprocess
import sys


def test_serving_needs_no_torch() -> None:
    words = "import sys, wg_server.operation.serve; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", words], check=True)
