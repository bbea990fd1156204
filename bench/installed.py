"""The generator that a server's home has installed, loaded."""

import functools
from pathlib import Path

from wg_common.nets.encoder.module import Encoder, load_encoder
from wg_server.generator import versions
from wg_server.generator.weights.head_generation import HeadGenerator, load_head_generator
from wg_server.site.home import ServerHome


def heads(home: ServerHome) -> HeadGenerator:
    """The generator of heads."""
    return load_head_generator(versions.installed_version(home).heads_path)


@functools.cache
def loaded(folder: Path) -> tuple[HeadGenerator, Encoder]:
    """The generator of heads and the encoder of a home, read once in each process."""
    home = ServerHome(folder)
    return heads(home), load_encoder(home.read_encoder())
