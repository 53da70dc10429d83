"""What tokens cost: exactly, at the price that the turn has, and nothing where it has none."""

import random
import re
from datetime import date
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.ledger import Prices, Sums, TokenCost
from landline.ledger.prices import (
    PICODOLLARS,
    LongPromptPrice,
    ModelPrice,
    ModelRates,
    PriceListError,
    PriceListRow,
    TokenRates,
    load_prices,
    published_prices,
)
from support.ledger.entries import changed

PRICE = ModelPrice(input=2.0, cached=0.2, cache_write=2.5, output=10.0)
TOKENS = st.integers(min_value=0, max_value=10**7)
DOLLARS = st.integers(min_value=0, max_value=10**8).map(lambda millionths: millionths / 10**6)


def rates(input_usd: float) -> TokenRates:
    return ModelRates.of(ModelPrice(input=input_usd, output=10.0)).usual


@pytest.mark.parametrize(
    ("price", "tokens", "paid_usd", "saved_usd"),
    [
        (PRICE, (0, 0, 0, 0), 0, 0),
        (PRICE, (1_000_000, 0, 0, 0), 2, 0),
        (PRICE, (0, 0, 0, 1_000_000), 10, 0),
        (PRICE, (1_000_000, 1_000_000, 0, 0), 0.2, 1.8),
        (PRICE, (1_000_000, 0, 1_000_000, 0), 2.5, -0.5),
        (PRICE, (22_010, 21_005, 1_000, 61), 0.007321, 0.037309),
        (ModelPrice(input=0.1, output=0.5), (1_000_000, 1_000_000, 0, 0), 0.1, 0),
        (ModelPrice(input=0.005, output=0), (1, 0, 0, 0), 0.000_000_005, 0),
    ],
)
def test_a_turn_costs_what_its_tokens_do(
    price: ModelPrice, tokens: tuple[int, int, int, int], paid_usd: float, saved_usd: float
) -> None:
    cost = ModelRates.of(price).usual.cost_of(*tokens)
    assert (cost.priced_turns, cost.paid, cost.cache_saved) == (
        1,
        round(paid_usd * PICODOLLARS),
        round(saved_usd * PICODOLLARS),
    )


@given(
    price=st.builds(ModelPrice, input=DOLLARS, cached=DOLLARS, cache_write=DOLLARS, output=DOLLARS),
    tokens=st.tuples(TOKENS, TOKENS, TOKENS, TOKENS),
)
def test_what_was_paid_and_saved_is_the_cost_without_a_cache(
    price: ModelPrice, tokens: tuple[int, int, int, int]
) -> None:
    of_tokens = ModelRates.of(price).usual
    cost = of_tokens.cost_of(*tokens)
    assert cost.paid >= 0
    assert cost.paid + cost.cache_saved == of_tokens.cost_of(tokens[0], 0, 0, tokens[3]).paid


def test_sums_of_money_are_exact_in_any_order() -> None:
    """A turn of one token at the smallest published price, between turns of dollars."""
    small, large = rates(0.005).cost_of(1, 0, 0, 0), rates(75.0).cost_of(900_001, 0, 0, 0)
    costs = [small, large] * 20_000
    random.Random(1).shuffle(costs)
    sums = Sums()
    for cost in costs:
        sums.add(changed(cost=cost))
    assert sums.cost == TokenCost(40_000, 20_000 * (small.paid + large.paid), 0)


@pytest.mark.parametrize(("input_tokens", "dollars"), [(100_000, 0.01), (100_001, 0.0500005)])
def test_all_tokens_of_a_long_prompt_have_its_price(input_tokens: int, dollars: float) -> None:
    long_prompt = LongPromptPrice(above_tokens=100_000, input=0.5, output=2.5)
    of_model = ModelRates.of(ModelPrice(input=0.1, output=0.5, long_prompt=long_prompt))
    assert of_model.for_prompt(input_tokens).cost_of(input_tokens, 0, 0, 0).paid_usd == dollars


LISTED = PriceListRow(models=["gpt"], hosts=["api.vendor.test"], input=3.0, output=3.0)
EVERYWHERE = PriceListRow(models=["local"], input=4.0, output=4.0)


@pytest.mark.parametrize(
    ("turn", "input_usd"),
    [
        (("coder", "vendor", "gpt"), 2),
        (("coder", "other", "anything"), 2),
        (("alias", "vendor", "gpt"), 3),
        (("alias", "vendor", "gpt-2026-11-17"), 3),
        (("alias", "vendor", "gpt-20261117"), 3),
        (("alias", "vendor", "gpt-5"), None),
        (("gpt", "other", "gpt"), None),
        (("alias", "other", "local"), 4),
        (("made up by a client", "vendor", "gpt"), 5),
        (("made up by a client", "other", "m"), 5),
        (("coder", "", ""), None),
    ],
)
def test_a_turn_has_its_models_price_or_that_of_the_list(turn: tuple[str, str, str], input_usd: float | None) -> None:
    configured = {"coder": PRICE, "alias": None, "gpt": None, "*": ModelPrice(input=5, output=5)}
    hosts = {"vendor": "api.vendor.test", "other": "127.0.0.1"}
    found = Prices(configured, [LISTED, EVERYWHERE], hosts).find(*turn)
    assert (found.usual.input / 10**6 if found is not None else None) == input_usd


def test_published_prices_are_dated_and_of_the_vendors_own_hosts() -> None:
    rows = published_prices()
    names = [(host, model) for row in rows for host in row.hosts for model in row.models]
    assert len(names) == len(set(names)) > 0
    for row in rows:
        assert row.hosts
        assert date.fromisoformat(row.checked)
        assert urlsplit(row.source).scheme == "https"
        assert row.cached is not None
        assert 0 < row.cached < row.input <= row.output


def test_published_prices_are_whole_picodollars() -> None:
    text = (Path(__file__).resolve().parents[3] / "src" / "landline" / "ledger" / "prices.toml").read_text()
    for number in re.findall(r"= (\d+\.\d+)", text):
        assert len(number.partition(".")[2]) <= 6


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "cannot read"),
        ("[[prices]", "is not TOML"),
        ('[[prices]]\nmodels = ["m"]\ninput = 1\n', "is not a price list: Object missing required field `output`"),
        ('[[prices]]\nmodels = ["m"]\ninput = -1\noutput = 1\n', "is not a price list: Expected `float` >= 0"),
        ('[[prices]]\nmodels = ["m"]\ninput = 1\noutput = 1\ncache = 1\n', "unknown field `cache`"),
    ],
)
def test_a_list_that_cannot_be_read_says_why(tmp_path: Path, text: str | None, reason: str) -> None:
    file = tmp_path / "prices.toml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(PriceListError, match=re.escape(reason)):
        load_prices(file)


def test_a_list_of_ones_own_is_read(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text('[[prices]]\nmodels = ["local"]\ninput = 4\noutput = 4\n')
    assert load_prices(file) == [EVERYWHERE]
    assert msgspec.structs.replace(EVERYWHERE, hosts=["a"]) != EVERYWHERE
