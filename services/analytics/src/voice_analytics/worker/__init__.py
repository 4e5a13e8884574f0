"""The process that keeps the rollups."""
