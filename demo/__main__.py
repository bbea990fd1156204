"""``make demo``: set up and run two servers and their plants, and show the results."""

import argparse
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from demo import stories
from demo.federation import Federation
from demo.languages import add_language_option, set_language
from demo.processes import CommandFailed, empty_output_folder, managed_processes
from wg_common.language import Language, text
from wg_core.errors import WgError

OUT = Path(__file__).parent / "out"

console = Console(stderr=True)


def main() -> int:
    """Run the demo; return 0 if every step succeeded."""
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT, help="where everything is written")
    add_language_option(parser)
    options = parser.parse_args()
    speak = set_language(options.language)
    try:
        empty_output_folder(options.out)
        with managed_processes(options.out / "logs") as running:
            federation = Federation(running, options.out, language=speak)
            summary = federation.run()
    except (CommandFailed, WgError, OSError) as error:
        said = speak(text("demo failed: {error}", error=error))
        console.print(said, style="red", highlight=False, markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print(speak(text("interrupted; every process of the demo has been ended")))
        return 130
    _show(summary, options.out, speak)
    return 0


def _show(summary: dict[str, Any], out: Path, language: Language) -> None:
    shown = Console(width=stories.WIDTH)
    shown.print(stories.stories_table(summary["plants"], language))
    for sentence in stories.notes(summary):
        shown.print(language(sentence), highlight=False)
    shown.print()
    for path in sorted([*out.glob("*.html"), *out.glob("*/report.html"), out / "summary.json"]):
        Console().print(str(path), highlight=False, soft_wrap=True)
    shown.print()
    for sentence in stories.describe_omissions(summary):
        shown.print(language(sentence), highlight=False)


if __name__ == "__main__":
    sys.exit(main())
