"""Algorithm 1: candidates of every word, draws keyed by the row, edits."""
