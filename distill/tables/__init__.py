"""What a terminal shows of results: one table a file."""
