"""How many events a second this machine takes in, makes durable and projects, and how far projection lags."""
