"""Rows for training: tokenized versions, batches, and blocks of a raw corpus."""
