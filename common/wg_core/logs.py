"""Structured logs: one JSON object per line, with the context of the line in separate fields.

``log_context`` sets the context of a thread or request (a site, a campaign, a request id); every
line logged inside it carries the context, also through ``run_in_threadpool``. Lines hold no secrets
by construction: tokens and keys are never given to a logger. JSON logs are meant to leave the
machine, so join tokens and paths of a plant's records are also masked there, in case an error text
holds one.
"""

import contextvars
import json
import logging
import re
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

TEXT_FORMAT = "text"
JSON_FORMAT = "json"
LOG_FORMATS = (TEXT_FORMAT, JSON_FORMAT)
CONTEXT_FIELDS = ("node", "site", "campaign", "request")
"""Context fields of a log line, in their order in the line."""

PRIVATE_UMASK = 0o077
"""Umask that the programs set, under which new files are readable by their owner alone."""
_CURRENT_CONTEXT_FIELDS: contextvars.ContextVar[Mapping[str, str]] = contextvars.ContextVar(
    "wg_log_about"
)
_JOIN_TOKEN_PATTERN = re.compile(r"wgj[0-9]+\.[A-Za-z0-9_\-]+")


@contextmanager
def log_context(**fields: str) -> Iterator[None]:
    """Add context fields (names from ``CONTEXT_FIELDS``) to each line logged inside the context."""
    token = _CURRENT_CONTEXT_FIELDS.set({**_CURRENT_CONTEXT_FIELDS.get({}), **fields})
    try:
        yield
    finally:
        _CURRENT_CONTEXT_FIELDS.reset(token)


def escape_unprintable(text: str, kept_characters: str = "") -> str:
    """Escape characters that could forge a line, move the cursor or reverse the text direction.

    Names come from strangers: a line feed in a name would forge a line of output. Unpaired
    surrogates, which file names may hold, could not be printed at all.

    Args:
        kept_characters: Control characters that are left as they are.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c in kept_characters or c.isprintable() else c.encode("unicode_escape").decode()
        for c in text
    )


class _LineFormatter(logging.Formatter):
    """Formatter that writes each log message as one line; tracebacks are kept."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = escape_unprintable(record.message, kept_characters="\t")
        return super().formatMessage(record)


def configure_logging(*packages: str) -> None:
    """Log to standard error: INFO and above of ``packages``, WARNING and above of all others."""
    line_format = "%(asctime)s %(name)s %(levelname)s %(message)s"
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format=line_format)
    for handler in logging.getLogger().handlers:
        if type(handler.formatter) is logging.Formatter:
            handler.setFormatter(_LineFormatter(line_format))
    for package in packages:
        logging.getLogger(package).setLevel(logging.INFO)


class JsonFormatter(logging.Formatter):
    """Formatter that writes each log record as one line of JSON.

    Args:
        hidden_paths: Paths that are masked as ``[data]``, together with the rest of the word.
    """

    def __init__(self, hidden_paths: Sequence[str] = ()) -> None:
        super().__init__()
        paths = "|".join(re.escape(path) for path in hidden_paths if path)
        self._hidden = re.compile(rf"(?:{paths})[^\s'\":;,]*") if paths else None

    def format(self, record: logging.LogRecord) -> str:
        """Return a log record as one line of JSON, without its newline."""
        time = datetime.fromtimestamp(record.created, UTC)
        document = {
            "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._mask_secrets(record.getMessage()),
        }
        fields = _CURRENT_CONTEXT_FIELDS.get({})
        document |= {name: fields[name] for name in CONTEXT_FIELDS if name in fields}
        if record.exc_info:
            document["trace"] = self._mask_secrets(self.formatException(record.exc_info))
        return json.dumps(document, ensure_ascii=False)

    def _mask_secrets(self, text: str) -> str:
        text = _JOIN_TOKEN_PATTERN.sub("[join token]", text)
        return self._hidden.sub("[data]", text) if self._hidden else text


def set_log_format(log_format: str, *, hidden_paths: Sequence[str] = ()) -> None:
    """Switch all logging of this process to a format; ``text`` changes nothing.

    With ``json``, warnings of Python and exceptions that end a thread are logged too, and handlers
    installed by libraries are removed, so that standard error holds nothing but JSON. Call this
    after the libraries are imported. ``hidden_paths`` are masked in all lines as ``[data]``.
    """
    if log_format != JSON_FORMAT:
        return
    for name in list(logging.root.manager.loggerDict):
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
    for handler in logging.getLogger().handlers:
        handler.setFormatter(JsonFormatter(hidden_paths))
    logging.captureWarnings(True)
    threading.excepthook = _log_thread_crash


def is_logging_json() -> bool:
    """Return whether this process writes its logs in JSON."""
    return any(isinstance(h.formatter, JsonFormatter) for h in logging.getLogger().handlers)


def _log_thread_crash(crash: threading.ExceptHookArgs) -> None:
    name = crash.thread.name if crash.thread else "unknown"
    value = crash.exc_value or crash.exc_type()
    logging.getLogger(__name__).error(
        "thread %s ended", name, exc_info=(crash.exc_type, value, crash.exc_traceback)
    )
