"""The generators that a server's home has installed, loaded."""

from wg_server.generator import versions
from wg_server.generator.weights.head_generation import Generator, load_generator
from wg_server.generator.weights.network_generation import NetworkGenerator, load_networks
from wg_server.site.home import ServerHome


def heads(home: ServerHome) -> Generator:
    """The generator of heads."""
    return load_generator(versions.installed(home).heads)


def networks(home: ServerHome) -> NetworkGenerator:
    """The generator of whole networks."""
    return load_networks(versions.installed(home).networks, heads(home))
