"""Turns without a client: asked of a target, or driven by hand in a session."""
