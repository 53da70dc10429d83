"""What turns cost, and what they would have cost without sessions: one entry a turn, summed by what it belongs to."""

from landline.ledger.entry import ByteCounts, Entry, Split, Times, Tokens
from landline.ledger.ledger import Ledger, LiveSession
from landline.ledger.prices import Prices, TokenCost
from landline.ledger.sums import Sums

__all__ = ["ByteCounts", "Entry", "Ledger", "LiveSession", "Prices", "Split", "Sums", "Times", "TokenCost", "Tokens"]
