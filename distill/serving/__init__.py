"""After a run: exports, predictions, GLUE's submission."""
