"""Alternatives to BLUP as priors of class means: ``python -m bench.priors images --home HOME``.

``--home`` is a home of the modality with a zoo. For every data set three other plants release their
statistics once, at epsilon .5, 1 and 4; another plant, whose own release is not used for its
package, completes the result with the product's code: without labels, or with labels of half of the
classes, where the other half is *never seen*; all of its test records count. Nothing is fitted on
data sets: the denoiser is trained on simulated plants of the zoo's families. Methods are chosen on
half of the sets; the results are those of the other half.

``mean`` is the trained denoiser's, ``sample`` one of its samples, ``chosen`` the sample of sixteen
with the least loss on the plant's labels, or without labels the highest likelihood of its records.
``mixture`` uses the other sets as the operator's kinds, compared by the relative positions of
classes: each class is one of a kind's, or new; a site whose evidence contradicts this falls back to
BLUP. In ``mixture, kind known`` the set's own kind is among them, from the records of an eighth
plant. ``whitener`` adds the mean posterior variance of deviations to the covariance of the heads.
``evened`` changes BLUP's biases until the predictions for a plant without labels are evenly
distributed over classes. ``FedAvg`` is that of ``bench.federated`` with five rounds, likewise
evened, or trained further at the plant. Differences are to BLUP, in percentage points, paired;
errors are over sets.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from bench import denoiser, kinds, plants, text_plants, window_plants
from bench.denoiser import CASE_CLASSES, Case, Denoiser, deviation_moments, shift_mean
from bench.federated import NEVER_SEEN, NO_LABELS, Training, evaluate_fedavg, even_biases
from bench.kinds import Kind, Site
from bench.plants import Floats, simulate_release
from bench.rows import write_table
from bench.selected import head_accuracy
from bench.tables import markdown
from scipy.special import log_softmax, logsumexp, softmax

from wg_client.fitting.linear_head import LinearHead
from wg_common.inference.posterior import SiteEvidence, mean_aligned_head_fitter, posterior_head
from wg_common.nets.encoder import package as encoders
from wg_common.nets.encoder.projected_trunk import Encoder, load_encoder
from wg_server.generator.pipeline import load_tasks
from wg_server.generator.prior import evidence_pools
from wg_server.generator.prior.class_names import ClassPriors, fit_public_priors
from wg_server.generator.prior.site_statistics import site_evidence
from wg_server.generator.prior.zoo_tasks import ZooTask
from wg_server.site.home import ServerHome
from wg_server.zoo.store import ZooStore

EPSILONS = 0.5, 1.0, 4.0
OTHERS, DRAWS, RECORDS = 3, 3, 20
EPISODES, HELD = 700, 200  # Simulated plants; those of families that are held out
SETS: Mapping[str, Sequence[str]] = {
    "images": plants.DATASETS,
    "windows": window_plants.DATASETS,
    "texts": text_plants.DATASETS,
}
"""Data sets by modality: methods are chosen on those at even indices, results are those at odd
ones."""
BLUP = "BLUP"
Head = tuple[Floats, Floats]


def cut_any_modality(
    encoder: Encoder, modality: str, root: Path, name: str, cache: Path
) -> Kind | None:
    """Cut a data set of any modality; None if it is missing, or a site has no records."""
    if modality == "images":
        return kinds.cut_kind(encoder, root, name, cache)
    if modality == "texts":
        found = text_plants.as_plants(encoder, root, name, 0)
    else:
        windows = window_plants.cut_data_set(encoder, root, name, 0, 0.0)
        found = None if windows is None else windows.plants
    if found is None or not all(len(site[1]) for site in (found.own, *found.same_family)):
        return None

    def part(site: Site, most: int | None) -> Site:
        rows = np.concatenate([np.flatnonzero(site[1] == k)[:most] for k in np.unique(site[1])])
        return site[0][rows, : encoder.dimension], site[1][rows]

    sites = [part(site, RECORDS) for site in (found.own, *found.same_family)]
    return Kind(sites, part(found.test, None), found.labels)


def draw_case(
    fitted: ClassPriors, kind: Kind, cell: str, epsilon: float, rng: np.random.Generator
) -> tuple[Case, list[SiteEvidence]]:
    """Simulate the releases of the other plants; return a plant's case, and their evidence."""
    sites, labels = kind.sites[1 : 1 + OTHERS], kind.labels
    released = [simulate_release("ab" * 32, x, y, labels, epsilon, rng) for x, y in sites]
    pools = evidence_pools.pools_of_releases(fitted.model_variances, None, released)
    named = fitted.class_prior(labels)
    posterior = evidence_pools.posterior_from_pools(fitted.model_variances, pools, labels, named)
    x, y = kind.sites[0]
    own = (x, np.full(len(y), -1)) if cell == NO_LABELS else (x[y % 2 == 0], y[y % 2 == 0])
    means = np.array([kind.test[0][kind.test[1] == k].mean(axis=0) for k in range(len(labels))])
    truth = (means - means.mean(axis=0)) @ posterior.basis
    foretold = np.zeros(truth.shape) if named is None else named.mean
    drawn = Case(posterior, foretold, own, kind.test, truth)
    return drawn, [site_evidence(each, labels) for each in released]


def simulate_kind(families: Mapping[str, Sequence[ZooTask]], rng: np.random.Generator) -> Kind:
    """Draw a kind from the zoo: some classes of a family, and some of its sites."""
    sites = families[str(rng.choice(sorted(families)))]
    chosen = rng.permutation(len(sites[0].labels))
    chosen = np.sort(chosen[: int(rng.integers(2, min(len(chosen), CASE_CLASSES) + 1))])
    parts = []
    for number in rng.permutation(len(sites)):
        rows = rng.permutation(np.flatnonzero(np.isin(sites[number].y, chosen)))
        parts.append(
            (
                sites[number].features[rows].astype(np.float64),
                np.searchsorted(chosen, sites[number].y[rows]),
            )
        )
    (x, y), *others = parts
    half = np.concatenate([np.flatnonzero(y == k)[::2] for k in range(len(chosen))])
    test = np.setdiff1d(np.arange(len(y)), half)
    names = tuple(sites[0].labels[k] for k in chosen)
    return Kind([(x[half], y[half]), *others], (x[test], y[test]), names)


def train_denoiser(fitted: ClassPriors, tasks: Sequence[ZooTask]) -> tuple[Denoiser, Denoiser]:
    """Train the denoiser's mean and sampler on plants that are simulated from the zoo."""
    families: dict[str, list[ZooTask]] = {}
    for task in tasks:
        families.setdefault(task.family, []).append(task)
    rng, names = np.random.default_rng(57), sorted(families)
    parts: list[list[Case]] = []
    for number, count in enumerate((EPISODES, HELD)):
        part = {
            name: families[name] for place, name in enumerate(names) if (place % 4 == 3) == number
        }
        parts.append([_episode(fitted, part, cell, rng) for cell in range(count)])
    return denoiser.fit(*parts)


def _episode(
    fitted: ClassPriors,
    families: Mapping[str, Sequence[ZooTask]],
    number: int,
    rng: np.random.Generator,
) -> Case:
    """Draw a plant of a simulated kind; plants with even numbers have no labels."""
    epsilon = float(np.exp(rng.uniform(np.log(0.3), np.log(8))))
    cell = (NO_LABELS, NEVER_SEEN)[number % 2]
    return draw_case(fitted, simulate_kind(families, rng), cell, epsilon, rng)[0]


def completed_head(case: Case, mean: Floats | None = None) -> Head:
    """Compute the head that a plant completes, optionally about another mean ``[K, d]``."""
    posterior = case.posterior if mean is None else shift_mean(case.posterior, mean)
    x, y = case.plant_records
    return (
        mean_aligned_head_fitter(posterior)(x, y)
        if y.max() < 0
        else posterior_head(posterior, x, y)
    )


def head_fit(case: Case, head: Head) -> float:
    """Mean log-likelihood of a plant's labels under a head, or without labels of its records."""
    x, y = case.plant_records
    logits = x @ head[0].T + head[1]
    if y.max() < 0:
        return float(logsumexp(logits, axis=1).mean())
    return float(log_softmax(logits, axis=1)[np.arange(len(y)), y].mean())


def widen_covariance(case: Case) -> Case:
    """Add the uncertainty of deviations to the covariance of a case's heads."""
    posterior = case.posterior
    spread = deviation_moments(posterior)[1].mean(axis=0)
    covariance = posterior.covariance + (posterior.basis * spread) @ posterior.basis.T
    return replace(case, posterior=replace(posterior, covariance=covariance))


def mixture_deviations(
    case: Case, evidence: Sequence[SiteEvidence], known_means: Sequence[Floats]
) -> Floats:
    """Predict deviations if classes may be those of the operator's kinds with means ``[J, d]``.

    A plant's camera shifts all of its classes alike: this shift is fitted by expectation
    maximisation, so that only relative positions matter. The kind with most evidence is selected,
    and each class is one of its classes, or new; without enough evidence the result is BLUP's.
    """
    posterior = case.posterior
    noise = np.array(
        [s.noise_variances[:, None] + posterior.within / s.record_counts[:, None] for s in evidence]
    )
    weight = 1 / (noise + posterior.ratio)
    means = np.array([site.means @ posterior.basis for site in evidence])
    seen = (weight * means).sum(axis=0) / weight.sum(axis=0)
    spread = 1 / weight.sum(axis=0)
    apart, centre = posterior.ratio, seen.mean(axis=0)
    gain = apart / (apart + spread)

    def density(about: Floats, variance: Floats) -> Floats:
        total = variance + spread[:, None]
        gap = seen[:, None] - about
        return np.asarray(-0.5 * (gap**2 / total + np.log(total)).sum(axis=2))

    of_new, mean = (
        density(centre[None, None], posterior.between)[:, 0],
        deviation_moments(posterior)[0],
    )
    best, result = np.log(2 * len(known_means)) * (1 + len(of_new)), mean
    for rows in known_means:
        rows, move = rows @ posterior.basis, centre
        rows = rows - rows.mean(axis=0)
        for _ in range(10):
            share = softmax(density(rows[None] + move, apart), axis=1)
            move = ((seen - share @ rows) / (apart + spread)).sum(axis=0)
            move = move / (1 / (apart + spread)).sum(axis=0)
        of_known = density(rows[None] + move, apart) - np.log(len(rows))
        total = np.logaddexp(of_new, logsumexp(of_known, axis=1))
        if (worth := float((total - of_new).sum())) > best:
            share = np.exp(of_known - total[:, None])
            each = rows[None] + gain[:, None] * (seen[:, None] - rows[None] - move) + move - centre
            new = 1 - share.sum(axis=1, keepdims=True)
            best, result = worth, np.einsum("kj,kjd->kd", share, each) + new * mean
    return result


def method_heads(
    case: Case,
    evidence: Sequence[SiteEvidence],
    networks: tuple[Denoiser, Denoiser],
    known_means: Sequence[Sequence[Floats]],
    seed: int,
) -> dict[str, Head]:
    """Compute the heads of all methods, by name."""
    drawn = denoiser.draw_samples(networks[1], case, torch.Generator().manual_seed(seed))
    heads = [completed_head(case, sample) for sample in drawn]
    suits = [head_fit(case, head) for head in heads]
    plain = completed_head(case)
    found = (
        {}
        if case.plant_records[1].max() >= 0
        else {"evened": even_biases(LinearHead(*plain), case.plant_records[0])}
    )
    names = "mixture", "mixture, kind known"
    for way, means in zip(names, known_means, strict=False):
        found[way] = LinearHead(*completed_head(case, mixture_deviations(case, evidence, means)))
    return {
        BLUP: plain,
        "whitener": completed_head(widen_covariance(case)),
        "mean": completed_head(case, denoiser.denoised_mean(networks[0], case)),
        "mean of samples": completed_head(case, drawn.mean(axis=0)),
        "sample": heads[0],
        "chosen": heads[int(np.argmax(suits))],
        **{way: (head.weight, head.bias) for way, head in found.items()},
    }


def class_means(kind: Kind) -> Floats:
    """Class means of the last site, ``[K, d]``."""
    x, y = kind.sites[-1]
    return np.array([x[y == k].mean(axis=0) for k in np.unique(y)])


def measure_accuracy(
    fitted: ClassPriors, networks: tuple[Denoiser, Denoiser], sets: Mapping[str, Kind], name: str
) -> dict[tuple[str, float, str], float]:
    """Accuracy on a data set by cell, epsilon and method."""
    torch.set_num_threads(1)
    kind, found = sets[name], defaultdict[tuple[str, float, str], list[float]](list)
    others = [class_means(each) for key, each in sets.items() if key != name]
    for draw in range(DRAWS):
        for epsilon in EPSILONS:
            for cell in (NO_LABELS, NEVER_SEEN):
                rng = np.random.default_rng((draw, int(10 * epsilon)))
                drawn, evidence = draw_case(fitted, kind, cell, epsilon, rng)
                known = [others, [*others, class_means(kind)]][: len(kind.sites) - OTHERS]
                for way, head in method_heads(drawn, evidence, networks, known, draw).items():
                    found[cell, epsilon, way].append(
                        head_accuracy(LinearHead(*head), drawn.test_records)
                    )
                training = Training(OTHERS, epsilon, 5, 2, 2.0, draw)
                result = evaluate_fedavg(kind, (OTHERS, epsilon, cell), training, True)
                found[cell, epsilon, "FedAvg"].append(result.accuracy)
    return {key: float(np.mean(values)) for key, values in found.items()}


def table(results: Mapping[str, Mapping[tuple[str, float, str], float]]) -> Iterator[str]:
    """Tabulate accuracy of BLUP and differences to it, for both halves of the sets."""
    names, values = list(results), {}
    for part, chosen in (("used for choices", names[::2]), ("not used", names[1::2])):
        for cell, epsilon, way in next(iter(results.values())):
            mine = np.array([results[name][cell, epsilon, way] for name in chosen])
            base = np.array([results[name][cell, epsilon, BLUP] for name in chosen])
            gap = 100 * (mine - base)
            error = gap.std(ddof=1) / len(gap) ** 0.5 if len(gap) > 1 else np.nan
            shown = f"{mine.mean():.3f}" if way == BLUP else f"{gap.mean():+.1f} ± {error:.1f}"
            values[part, cell, f"{epsilon:g}", way] = shown
    ways, places = dict.fromkeys(key[3] for key in values), dict.fromkeys(key[:3] for key in values)
    yield from markdown(
        ("sets", "cell", "ε", *ways),
        ((*place, *(values.get((*place, way)) for way in ways)) for place in places),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modality", choices=list(SETS))
    parser.add_argument("--home", type=Path, required=True, help="a server's home with a zoo")
    parser.add_argument("--datasets", type=Path, default=Path("../shared/datasets"))
    parser.add_argument("--cache", type=Path, default=Path("bench/out/cache"))
    parser.add_argument("--table", type=Path, help="markdown file to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    home = ServerHome(options.home)
    package = home.read_encoder()
    encoder, tasks = (
        load_encoder(package),
        load_tasks(ZooStore(home.zoo_folder), home.encoder_sha256()),
    )
    fitted = fit_public_priors(tasks, encoders.read_text_projection(package))
    started = time.monotonic()
    networks = train_denoiser(fitted, tasks)
    training = time.monotonic() - started
    sets = {}
    for name in SETS[options.modality]:
        kind = cut_any_modality(encoder, options.modality, options.datasets, name, options.cache)
        if kind is None:
            print(f"{name}: missing, or with too few recordings for all sites: left out")
        else:
            sets[name] = kind
    if not sets:
        raise SystemExit(f"{options.datasets}: no set of {options.modality} is here")
    results = {name: measure_accuracy(fitted, networks, sets, name) for name in sets}
    lines = [*table(results), "", f"Sets: {', '.join(sets)}; training {training:.0f} s.", ""]
    one = draw_case(fitted, sets[next(iter(sets))], NO_LABELS, 1.0, np.random.default_rng(0))[0]
    started = time.perf_counter()
    denoiser.draw_samples(networks[1], one, torch.Generator().manual_seed(0))
    lines.append(f"Sixteen samples of a package: {time.perf_counter() - started:.3f} s.")
    write_table("\n".join(lines), options.table)


if __name__ == "__main__":
    main()
