"""Reading rows: GLUE's TSV, columnar files, hub data sets, and drafts of task files."""
