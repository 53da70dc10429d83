"""A small agent with local tools that speaks to any Responses server."""
