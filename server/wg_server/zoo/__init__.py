"""The zoo: labelled public tasks, encoded as features, on which the generator is trained."""
