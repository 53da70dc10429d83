"""Bytes to and from targets; changes with transports and the ways they fail."""
