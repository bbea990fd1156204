"""Japanese for everything that a person at the plant reads: English template -> Japanese one."""

from __future__ import annotations

from collections.abc import Mapping

from wg_client.japanese import checks, commands, pilot, report
from wg_common import japanese

JAPANESE: Mapping[str, str] = {
    **japanese.SHARED,
    **report.MESSAGES,
    **checks.MESSAGES,
    **commands.MESSAGES,
    **pilot.MESSAGES,
}
