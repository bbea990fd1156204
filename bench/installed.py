"""The generator that a server's home has installed, loaded."""

from wg_server.generator import versions
from wg_server.generator.weights.head_generation import Generator, load_generator
from wg_server.site.home import ServerHome


def heads(home: ServerHome) -> Generator:
    """The generator of heads."""
    return load_generator(versions.installed(home).heads)
