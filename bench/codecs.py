"""What the codec of whole networks keeps. Run with ``python -m bench.codecs --home DIR``.

For each latent size, the zoo's networks are decoded and run on the records held out of their
training: by PCA fitted without their families, and fitted on all networks. This is the measurement
of the model card, on all networks (docs/decisions/0126).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from wg_common.wire import canonical
from wg_server.generator.evaluation import codec_fidelity
from wg_server.generator.networks.codec import fit_layer_codec
from wg_server.generator.networks.decoder import Decoder
from wg_server.generator.networks.entries import load_networks
from wg_server.generator.networks.weight_plan import weight_plan
from wg_server.generator.prior.zoo_tasks import load_tasks
from wg_server.site.home import ServerHome
from wg_server.zoo import bases
from wg_server.zoo.store import Zoo


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="a server's home with networks")
    parser.add_argument("--architecture", default="cnn-m")
    parser.add_argument("--plan", default="whole", help="weight plan")
    parser.add_argument("--latent", type=int, nargs="+", default=[8, 16, 32])
    parser.add_argument("--seed", type=int, default=20240501)
    options = parser.parse_args()
    torch.set_num_threads(1)
    home = ServerHome(options.home)
    plan = weight_plan(options.architecture, options.plan)
    base, base_id = bases.read_base(home.zoo, options.architecture)
    store = Zoo(home.zoo)
    tasks = load_tasks(store, canonical.sha256_hex(home.encoder.read_bytes()))
    networks, _ = load_networks(store, tasks, plan, base, base_id)
    families = {network.task.family for network in networks}
    print(f"{len(networks)} networks of {len(families)} families", flush=True)
    names, tokens = [part.name for part in plan.parts], [n.tokens for n in networks]
    for latent in options.latent:
        started = time.process_time()
        decoder = Decoder(plan, fit_layer_codec(names, tokens, latent), base)
        found = codec_fidelity.report(
            networks, decoder, latent=latent, seed=options.seed, most=len(networks)
        )
        found["after_codec, fitted on them"] = found.pop("on_fitted")["after_codec"]
        print(f"latent {latent} ({time.process_time() - started:.0f} s of processor time)")
        for way, values in found.items():
            if isinstance(values, dict):
                words = ", ".join(f"{k} {v:.4f}" for k, v in values.items())
                print(f"  {way}: {words}", flush=True)


if __name__ == "__main__":
    main()
