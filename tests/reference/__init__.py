"""Slow, obvious oracles: what the fast code must agree with."""
