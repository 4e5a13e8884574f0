"""How fast one webhooks worker makes signed events durable, beside the same handler with other ends."""
