"""Fitting of models on the plant's labelled records, without selection between methods."""
