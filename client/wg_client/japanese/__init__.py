"""Japanese for everything that a person at the plant reads: English template -> Japanese one."""

from __future__ import annotations

from collections.abc import Mapping

from wg_client.japanese import checks, commands, errors, help, pilot, report
from wg_common.japanese import SHARED
from wg_common.language import Catalogue

_SENTENCES: Mapping[str, str] = {
    **SHARED,
    **report.MESSAGES,
    **checks.MESSAGES,
    **commands.MESSAGES,
    **pilot.MESSAGES,
    **help.HELP,
}
JAPANESE = Catalogue(_SENTENCES, {**SHARED.errors, **errors.ERRORS})
