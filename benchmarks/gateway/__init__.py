"""What the gateway's edge costs: one worker on one core, beside bare aiohttp, Envoy, nginx and FastAPI with httpx."""
