"""Generator: training, evaluation and versions of the models behind weights packages."""
