"""Makes prices.md: how money is counted, and the published prices in `landline.ledger.prices`."""

from collections.abc import Iterator

from landline.ledger.prices import LongPromptPrice, ModelPrice, PriceListRow, published_prices


def prices_page() -> str:
    """The page: an introduction, and a row for each price."""
    head = ["| models | input | cached | cache write | output | read on |", "| --- |" + " ---: |" * 4 + " --- |"]
    rows = [line for row in published_prices() for line in _lines(row)]
    return "\n".join([INTRODUCTION, *head, *rows]) + "\n"


def _lines(row: PriceListRow) -> Iterator[str]:
    models = ", ".join(f"`{model}`" for model in row.models)
    yield f"| {models} | {_prices(row)} | [{row.checked}]({row.source}) |"
    long_prompt = row.long_prompt
    if long_prompt is not None:
        yield f"| … above {long_prompt.above_tokens:,} input tokens | {_prices(long_prompt)} | |"


def _prices(price: ModelPrice | LongPromptPrice) -> str:
    cached = price.input if price.cached is None else price.cached
    cache_write = price.input if price.cache_write is None else price.cache_write
    return " | ".join(f"{dollars:g}" for dollars in (price.input, cached, cache_write, price.output))


INTRODUCTION = """# Prices

Where a model has a price, Landline says what each turn's tokens cost, and what they would have cost more without a cache: in the
[log line](ledger.md) of the turn, at [/metrics](metrics.md), on the [monitor page](monitor.md) and in [`landline top`](top.md).
A model without a price shows nothing: no price is guessed.

## Which price

A turn has the first of these prices that there is:

1. `price` of the model that the client asked for, whatever target served it:

   ```toml
   [models."coder".price]      # US dollars for a million tokens
   input = 2.00
   cached = 0.20               # read from a cache; without it as much as input
   cache_write = 2.50          # written to a cache; without it as much as input
   output = 10.00
   ```

   `[models."*".price]` is for the names that the row `"*"` takes.
2. The price list's row for the model that the target was asked for, with or without the date at the end of a snapshot's name
   (`claude-haiku-4-5-20251001`). The list that comes with Landline (below) is only for the vendors' own hosts, such as
   `api.openai.com`: another server may give its models these names, too.

Prices are of the standard service tier. A turn whose create asks for another `service_tier` (`flex`, `priority`) has no price,
and neither has one that no target took.

## A price list of yours

```toml
[prices]
file = "prices.toml"
```

puts a file in place of the list below; an empty one shows no money but that of `[models.NAME.price]`. Each row:

```text
[[prices]]
models = ["gpt-6.2-sol"]                # as the target is asked for them
hosts = ["api.openai.com"]              # optional: only for targets at these hosts
input = 2.00
cached = 0.10                           # optional, as is cache_write
cache_write = 2.50
output = 10.00
long_prompt = { above_tokens = 272_000, input = 4.00, cached = 0.20, cache_write = 5.00, output = 15.00 }  # optional
source = "https://…"                    # optional, as is checked
checked = "2026-11-18"
```

## How it is counted

    paid        = (input - cached - cache_write) * price.input + cached * price.cached
                  + cache_write * price.cache_write + output * price.output
    cache saved = cached * (price.input - price.cached) - cache_write * (price.cache_write - price.input)

with the turn's tokens as the model's server counted them. So paid plus cache saved is what the same tokens cost without a cache.
Cache saved is negative for a turn that writes to a cache at a higher price and reads little from it, and is shown so.

Money is counted in whole picodollars (10⁻¹² US dollars). A price of up to six decimals is a whole number of them for one token, so
each cost is exact, and sums of any number of turns are. Exports are dollars as floating-point numbers, made of the exact sum.

This is an estimate from list prices, not the vendor's invoice. It leaves out discounts and taxes, fees for tools that the vendor
runs, surcharges for regions, storage of caches, and longer cache lifetimes than those of the list. With several requests to a model
in one turn (a compaction, a resend), the length of the prompt is that of all of them together.

## Published prices

US dollars for a million tokens, as the vendors published them at the date of each row. Prices without a dated source are left out.
Cache writes are those of the shortest lifetime (5 minutes at Anthropic, 30 at OpenAI); where a vendor charges nothing for them,
they cost as much as input.
"""
