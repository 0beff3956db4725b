"""Versions made from other versions and from rows of other tools: add, filter, merge, write."""
