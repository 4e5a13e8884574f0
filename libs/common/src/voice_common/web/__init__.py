"""Pieces that every aiohttp service is made of."""
