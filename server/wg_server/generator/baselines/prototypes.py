"""Prototypes: class sums pooled over sites, as rows of unit length (Snell et al., NeurIPS 2017)."""

import numpy as np

from wg_common.inference.discriminants import unit_rows
from wg_server.generator.baselines.context import Context, Floats, Head


def pooled_cosine(context: Context) -> Head:
    """Cosine prototypes of all sites' class sums pooled, weighted by inferred counts."""
    rows, centre = _pooled(context)
    return rows, rows @ (context.estimate.centre - centre)


def pooled_moved(context: Context) -> Head:
    """Pooled prototypes moved to the site's own mean of all records, labelled or not."""
    rows, centre = _pooled(context)
    own = context.sites[0]
    if np.isfinite(own.domain_noise):
        centre = own.domain
    return rows, rows @ (context.estimate.centre - centre)


def cosine_without_counts(context: Context) -> Head:
    """Cosine prototypes of the sums' directions: every site counts alike, no count is asked.

    Sums are brought to the site's own mean sum before their directions are added up.
    """
    shape = context.estimate.weight.shape
    total = np.zeros(shape)
    for site in context.sites:
        sums = site.means * site.counts[:, None]
        known = site.present > 1e-3
        if known.sum() < 2:
            continue
        away = np.where(known[:, None], sums - sums[known].mean(axis=0), 0.0)
        total += away / (np.linalg.norm(away) + 1e-12)
    rows = unit_rows(total)
    return rows, np.zeros(shape[0])


def _pooled(context: Context) -> tuple[Floats, Floats]:
    """Unit rows of class sums about their mean, and that mean."""
    sums = sum(
        site.means * (site.counts * (site.present > 1e-3))[:, None] for site in context.sites
    )
    total = sum(site.counts * (site.present > 1e-3) for site in context.sites)
    means = sums / np.maximum(total, 1.0)[:, None]
    known = np.asarray(total) > 0
    centre = means[known].mean(axis=0) if known.any() else np.zeros(means.shape[1])
    away = np.where(known[:, None], means - centre, 0.0)
    return unit_rows(away), centre
