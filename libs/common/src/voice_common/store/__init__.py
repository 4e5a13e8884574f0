"""The event store: who the tenants are, what happened, and what it adds up to."""
