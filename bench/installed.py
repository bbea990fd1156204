"""Generator and encoder installed in a server's home."""

import functools
from pathlib import Path

from wg_common.nets.encoder.projected_trunk import Encoder, load_encoder
from wg_server.generator import versions
from wg_server.generator.weights.head_generation import HeadGenerator, load_head_generator
from wg_server.site.home import ServerHome


def head_generator(home: ServerHome) -> HeadGenerator:
    """Load the generator of heads of a server's home."""
    return load_head_generator(versions.installed_version(home).heads_path)


@functools.cache
def load_cached(folder: Path) -> tuple[HeadGenerator, Encoder]:
    """Load the generator of heads and the encoder of a home, once in each process."""
    home = ServerHome(folder)
    return head_generator(home), load_encoder(home.read_encoder())
