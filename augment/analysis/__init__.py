"""Before and after a run: plan, preview, statistics, and what a lower precision changed."""
