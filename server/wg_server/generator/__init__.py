"""Generator: training, evaluation and versions of the models from which packages are made."""
