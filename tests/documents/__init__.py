"""What README and docs show is run: blocks, what stands in for models and data, and how."""
