"""Real clients and bare ones, driven by tests: Codex, Node, browsers, terminals, agents that really talk."""
