"""What turns cost, and what they would have cost without the line: summed, shown, and told to those who watch."""

from landline.ledger.entry import ByteCounts, Entry, Split, Times, Tokens
from landline.ledger.ledger import Ledger, LiveSession
from landline.ledger.sums import Sums

__all__ = ["ByteCounts", "Entry", "Ledger", "LiveSession", "Split", "Sums", "Times", "Tokens"]
