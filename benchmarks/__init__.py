"""Benchmarks: the passes beside what one would write by hand, in one run, as ratios."""
