"""`landline bench`: how fast a server is, and what an agent's task costs over each transport, in figures that can be repeated."""
