"""Budgets of compression that are nearly used up."""

from landline.server.compression_budget import CompressionBudget, Offer, StepName

USUAL_OFFER = Offer()
"""What `permessage-deflate; client_max_window_bits` allows."""


def short_of_memory(step: StepName) -> CompressionBudget:
    """A budget of which the next usual socket gets this step."""
    budget = CompressionBudget(4 * 1024 * 1024)
    while (grant := budget.grant(USUAL_OFFER)).step != step:
        pass
    budget.release(grant)
    return budget
