"""Logs for machines: one JSON object a line, with what the line is about in fields of its own.

``about`` names what a thread or request works on (a site, a campaign, a request id); every line
that is logged meanwhile carries it, also through ``run_in_threadpool``. Lines hold no secrets by
construction: tokens and keys are never given to a logger. In JSON, which is made to be shipped
elsewhere, join tokens and paths of a plant's records are taken out as well, should an error text
hold one.
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

TEXT = "text"
JSON = "json"
FORMATS = (TEXT, JSON)
FIELDS = ("node", "site", "campaign", "request")
"""What a line can be about; in a line they stand in this order."""

PRIVATE_UMASK = 0o077
"""What our programs write is for their user alone, whatever the shell's umask says."""
_ABOUT: contextvars.ContextVar[Mapping[str, str]] = contextvars.ContextVar("wg_log_about")
_TOKEN = re.compile(r"wgj[0-9]+\.[A-Za-z0-9_\-]+")


@contextmanager
def about(**fields: str) -> Iterator[None]:
    """Every line that is logged inside is about these; names are from ``FIELDS``."""
    token = _ABOUT.set({**_ABOUT.get({}), **fields})
    try:
        yield
    finally:
        _ABOUT.reset(token)


def printable(text: str, keep: str = "") -> str:
    """Return text in which nothing can pass for another line, move the cursor or turn it around.

    Names come from strangers: a line feed in one would forge a line of an answer. Halves of
    surrogate pairs, which file names may hold, could not be printed at all.

    Args:
        keep: Control characters that may stay.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c in keep or c.isprintable() else c.encode("unicode_escape").decode() for c in text
    )


class _LineFormatter(logging.Formatter):
    """One line for each message: a name in it cannot forge another. Traces keep their lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = printable(record.message, keep="\t")
        return super().formatMessage(record)


def start(*packages: str) -> None:
    """Log lines on standard error: information of these packages, only warnings of others."""
    line_format = "%(asctime)s %(name)s %(levelname)s %(message)s"
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format=line_format)
    for handler in logging.getLogger().handlers:
        if type(handler.formatter) is logging.Formatter:
            handler.setFormatter(_LineFormatter(line_format))
    for package in packages:
        logging.getLogger(package).setLevel(logging.INFO)


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON.

    Args:
        hidden: Paths that are replaced, with all that follows in the same word, by ``[data]``.
    """

    def __init__(self, hidden_paths: Sequence[str] = ()) -> None:
        super().__init__()
        paths = "|".join(re.escape(path) for path in hidden_paths if path)
        self._hidden = re.compile(rf"(?:{paths})[^\s'\":;,]*") if paths else None

    def format(self, record: logging.LogRecord) -> str:
        """One line, without its newline."""
        time = datetime.fromtimestamp(record.created, UTC)
        document = {
            "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._clean(record.getMessage()),
        }
        fields = _ABOUT.get({})
        document |= {name: fields[name] for name in FIELDS if name in fields}
        if record.exc_info:
            document["trace"] = self._clean(self.formatException(record.exc_info))
        return json.dumps(document, ensure_ascii=False)

    def _clean(self, text: str) -> str:
        text = _TOKEN.sub("[join token]", text)
        return self._hidden.sub("[data]", text) if self._hidden else text


def use(form: str, *, hidden_paths: Sequence[str] = ()) -> None:
    """Let everything that this process logs come out in a format; ``text`` is as it was.

    Warnings of Python and exceptions that end a thread are logged too, and libraries that print
    their log by themselves are stopped, so that nothing else than JSON stands on standard error.
    Call it after they are imported.
    """
    if form != JSON:
        return
    for name in list(logging.root.manager.loggerDict):
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
    for handler in logging.getLogger().handlers:
        handler.setFormatter(JsonFormatter(hidden_paths))
    logging.captureWarnings(True)
    threading.excepthook = _log_thread


def in_json() -> bool:
    """Return whether this process logs in JSON."""
    return any(isinstance(h.formatter, JsonFormatter) for h in logging.getLogger().handlers)


def _log_thread(thread_end: threading.ExceptHookArgs) -> None:
    name = thread_end.thread.name if thread_end.thread else "unknown"
    value = thread_end.exc_value or thread_end.exc_type()
    logging.getLogger(__name__).error(
        "thread %s ended", name, exc_info=(thread_end.exc_type, value, thread_end.exc_traceback)
    )
