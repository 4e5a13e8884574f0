"""What an answer costs: rollups against MongoDB's own aggregation and DuckDB, on the same rows."""
