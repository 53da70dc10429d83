"""What tokens cost: the prices of models, and the cost of a turn at them. `ledger.entry` asks for every turn.

Money is counted in whole picodollars (10⁻¹² US dollars). A price of up to six decimals for a million tokens is a whole
number of them for one token, so costs are exact, and so are sums of any number of turns in any order.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import msgspec

PICODOLLARS = 10**12
"""In one US dollar."""
_PER_TOKEN = PICODOLLARS // 10**6
"""Picodollars for one token, at a price of one dollar for a million of them."""
_STANDARD_TIERS = (None, "auto", "default", "standard")
"""Of `service_tier`. Vendors sell the others at other prices, which no list here has."""
_SNAPSHOT = re.compile(r"-(?:\d{4}-\d{2}-\d{2}|\d{8})$")
"""The date at the end of a snapshot's name, as in `claude-haiku-4-5-20251001`: vendors sell it at its model's price."""

Dollars = Annotated[float, msgspec.Meta(ge=0, le=100_000)]
TokenCount = Annotated[int, msgspec.Meta(ge=1)]


class TokenCost(msgspec.Struct, frozen=True, gc=False):
    """Money of turns whose model has a price, in picodollars."""

    priced_turns: int = 0
    """Turns that have a price: of others nothing is counted."""
    paid: int = 0
    cache_saved: int = 0
    """What the same tokens would have cost more without a cache. Negative where writing to it cost more than reading saved."""

    @property
    def paid_usd(self) -> float:
        """US dollars."""
        return self.paid / PICODOLLARS

    @property
    def cache_saved_usd(self) -> float:
        """US dollars."""
        return self.cache_saved / PICODOLLARS


NO_COST = TokenCost()


class TokenRates(msgspec.Struct, frozen=True, gc=False):
    """Picodollars for one token of each kind."""

    input: int
    cached: int
    cache_write: int
    output: int

    def cost_of(self, input_tokens: int, cached: int, cache_write: int, output_tokens: int) -> TokenCost:
        """Of one turn; cached and written tokens are parts of the input, and no larger than it."""
        cached = min(cached, input_tokens)
        cache_write = min(cache_write, input_tokens - cached)
        without_cache = input_tokens * self.input + output_tokens * self.output
        cache_saved = cached * (self.input - self.cached) - cache_write * (self.cache_write - self.input)
        return TokenCost(1, without_cache - cache_saved, cache_saved)


class LongPromptPrice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The prices of all tokens of a turn with a long prompt, in US dollars for a million."""

    above_tokens: TokenCount
    """With more input tokens than this, cached ones included, the whole turn has these prices."""
    input: Dollars
    """As in the table above."""
    cached: Dollars | None = None
    """As in the table above."""
    cache_write: Dollars | None = None
    """As in the table above."""
    output: Dollars
    """As in the table above."""

    @property
    def rates(self) -> TokenRates:
        """For one token."""
        return _rates(self)


class ModelPrice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What tokens of a model cost, in US dollars for a million, at the vendor's standard service tier."""

    input: Dollars
    """Input tokens that are neither read from a cache nor written to one."""
    cached: Dollars | None = None
    """Input tokens read from a cache; as much as `input` by default."""
    cache_write: Dollars | None = None
    """Input tokens written to a cache; as much as `input` by default."""
    output: Dollars
    """Output tokens, reasoning included."""
    long_prompt: LongPromptPrice | None = None
    """Other prices of turns with a long prompt: the table below."""

    @property
    def rates(self) -> TokenRates:
        """For one token of a turn whose prompt is not long."""
        return _rates(self)


class PriceListRow(ModelPrice, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row of a price list: models of one vendor with the same price."""

    models: Annotated[list[str], msgspec.Meta(min_length=1)]
    """As the vendor calls them."""
    hosts: list[str] = []
    """The vendor's API. The row is for targets there only, because other servers give their models such names, too; without
    hosts it is for every target."""
    source: str = ""
    """Where the price was published."""
    checked: str = ""
    """When it was read there: `2026-11-18`."""


class PriceListError(Exception):
    """A price list that cannot be read; the message says why."""


class _PriceList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    prices: list[PriceListRow] = []


def published_prices() -> list[PriceListRow]:
    """List prices of well-known models, as their vendors published them at the date of each row."""
    return _read_list(files("landline.ledger").joinpath("prices.toml").read_text(encoding="utf-8"))


def load_prices(path: Path) -> list[PriceListRow]:
    """The list in a file. Raises `PriceListError`."""
    try:
        return _read_list(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PriceListError(f"cannot read {str(path)!r}: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PriceListError(f"{str(path)!r} is not TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise PriceListError(f"{str(path)!r} is not a price list: {error}") from error


class ModelRates(msgspec.Struct, frozen=True):
    """The rates of a model, for prompts of every length."""

    usual: TokenRates
    long_prompt: TokenRates | None = None
    above_tokens: int = 0

    @classmethod
    def of(cls, price: ModelPrice) -> "ModelRates":
        long_prompt = price.long_prompt
        if long_prompt is None:
            return cls(price.rates)
        return cls(price.rates, long_prompt.rates, long_prompt.above_tokens)

    def for_prompt(self, input_tokens: int) -> TokenRates:
        is_long = self.long_prompt is not None and input_tokens > self.above_tokens
        return self.long_prompt if is_long and self.long_prompt is not None else self.usual


class Prices:
    """The price of every model that has one. There is no guess for one that has none."""

    def __init__(
        self,
        configured: Mapping[str, ModelPrice | None] | None = None,
        rows: Iterable[PriceListRow] = (),
        target_hosts: Mapping[str, str] | None = None,
    ) -> None:
        """`configured` has every model that clients may ask for, with the price that its settings give it. `rows` are a price
        list, for the models that targets (with the host of each) are asked for."""
        models = configured or {}
        self._configured = {name: ModelRates.of(price) if price else None for name, price in models.items()}
        self._listed: dict[str, dict[str, ModelRates]] = {name: {} for name in target_hosts or {}}
        for row in rows:
            rates = ModelRates.of(row)
            for target, host in (target_hosts or {}).items():
                if not row.hosts or host in row.hosts:
                    self._listed[target] |= dict.fromkeys(row.models, rates)

    def find(self, model: str, target: str, upstream_model: str) -> ModelRates | None:
        """The rates of a turn: those in the settings of the model that the client asked for, else those of the list for the
        model that the target was asked for. None if it has no price, or if no target took it."""
        if not target:
            return None
        configured = self._configured
        rates = configured.get(model if model in configured else "*")
        if rates is not None:
            return rates
        listed = self._listed.get(target)
        if not listed:
            return None
        return listed.get(upstream_model) or listed.get(_SNAPSHOT.sub("", upstream_model))


NO_PRICES = Prices()


def is_standard_tier(service_tier: str | None) -> bool:
    """Whether a create asks for the service tier that prices are of."""
    return service_tier in _STANDARD_TIERS


def _rates(price: ModelPrice | LongPromptPrice) -> TokenRates:
    of_input = _picodollars(price.input)
    return TokenRates(
        of_input,
        of_input if price.cached is None else _picodollars(price.cached),
        of_input if price.cache_write is None else _picodollars(price.cache_write),
        _picodollars(price.output),
    )


def _picodollars(dollars_for_a_million: float) -> int:
    return round(dollars_for_a_million * _PER_TOKEN)


def _read_list(text: str) -> list[PriceListRow]:
    return msgspec.convert(tomllib.loads(text), _PriceList).prices
