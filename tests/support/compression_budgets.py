"""Budgets of compression that are nearly used up."""

from landline.compression_budget import CompressionBudget, CompressionOffer, StepName

USUAL_OFFER = CompressionOffer()
"""What `permessage-deflate; client_max_window_bits` allows."""


def short_of_memory(step: StepName, offer: CompressionOffer = USUAL_OFFER) -> CompressionBudget:
    """A budget of which the next socket with this offer gets this step."""
    budget = CompressionBudget(4 * 1024 * 1024)
    while (grant := budget.grant(offer)).step != step:
        pass
    budget.release(grant)
    return budget
