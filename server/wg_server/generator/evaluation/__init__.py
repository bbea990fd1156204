"""Evaluation of generators and encoders: model cards and their checks."""
