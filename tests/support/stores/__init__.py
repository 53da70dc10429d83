"""What the tests of stores need: PostgreSQL, outages, a writer to kill, items to keep and what must be read back."""
