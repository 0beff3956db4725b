"""The masked LM: loading, exact forward passes of its families, candidates by position."""
