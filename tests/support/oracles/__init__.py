"""Judges that are not Landline's: vendors' own clients and the published schema."""
