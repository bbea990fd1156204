"""One generator of weights: heads from releases and the zoo, networks from data sheets."""
