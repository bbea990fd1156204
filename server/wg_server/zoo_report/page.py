"""The page: one self-contained HTML file. No script, no font, no image from outside."""

from collections.abc import Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup

from wg_core import __version__
from wg_server.site.home import ServerHome
from wg_server.zoo import contributions
from wg_server.zoo.store import Zoo
from wg_server.zoo_report import domains as points
from wg_server.zoo_report import pictures, plants
from wg_server.zoo_report.summary import COPY, Summary, summarise


def report(home: ServerHome, statistics: Sequence[Path] = ()) -> tuple[Summary, str]:
    """Measure a home's zoo and render the page.

    Args:
        statistics: Files of releases to place in the zoo.

    Raises:
        ConfigError: There is no zoo, or the site of a file is not known.
        DecodeError: A file or the zoo is damaged.
        VerificationError: Likewise.
    """
    domains = points.load(Zoo(home.zoo), home.encoder_id())
    likeness = points.kernel(domains)
    own = points.nearest(domains, likeness)[0]
    placed = [plants.place(*plants.read(home, path), domains, own) for path in statistics]
    summary = summarise(domains, likeness, own, placed)
    drawn = pictures.draw(domains, likeness, own, summary.kinds, placed)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("wg_server.zoo_report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda value: f"{100 * value:.0f} %"
    environment.filters["three"] = lambda value: f"{value:.3f}"
    environment.filters["one"] = lambda value: f"{value:.1f}"
    text = environment.get_template("zoo.html.j2").render(
        summary=summary,
        # Made by matplotlib, which escapes the names that it draws.
        pictures={name: Markup(svg) for name, svg in drawn.items()},  # noqa: S704
        contributions=contributions.stored(home.zoo),
        copy=COPY,
        version=__version__,
    )
    return summary, text
