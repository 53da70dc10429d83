"""Which target serves a turn; changes with the rules of choice."""
