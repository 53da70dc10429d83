"""What fake model servers answer, turn by turn, and how an answer looks on each vendor's wire."""
