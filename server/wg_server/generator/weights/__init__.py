"""Generation of candidates: heads from releases and the zoo, networks from data sheets."""
