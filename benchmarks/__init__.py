"""Scripts that print ratios; their results lie in ``results/``."""
