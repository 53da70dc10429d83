"""Conducts one turn through the rooms below; changes with the order of a turn's steps."""
