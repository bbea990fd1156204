"""Baselines that are trained, each after its own paper: for the benchmark only, never packaged."""
