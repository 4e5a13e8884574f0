"""Overview, detailed and timeline metrics."""
