"""The embedded model: its files, its process, and which lineage is warm in which slot."""
