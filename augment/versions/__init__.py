"""Writing a version: rows, Parquet, staging, manifest."""
