"""The edge: authenticates, limits, caches and proxies."""
