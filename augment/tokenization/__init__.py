"""Words with offsets, the tokens of a model over them, and what is never replaced."""
