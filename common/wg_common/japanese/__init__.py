"""Japanese for what all commands say: English template or shape -> Japanese one (``language``)."""

from __future__ import annotations

from wg_common.japanese.errors import ERRORS
from wg_common.japanese.help import HELP
from wg_common.japanese.sentences import SENTENCES
from wg_common.japanese.wrong_calls import WRONG_CALLS
from wg_common.language import Catalogue

SHARED = Catalogue({**SENTENCES, **HELP}, {**ERRORS, **WRONG_CALLS})
