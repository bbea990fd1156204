"""The zoo: public tasks and the weights trained on them."""
