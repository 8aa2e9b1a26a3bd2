"""Benchmarks: what the product does beside what one would write by hand, in one run, as ratios."""
