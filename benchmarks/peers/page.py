"""Puts what a comparison found into `docs/proof.md`: each block between two marks is written anew from `peers.json`.

`python -m peers.page` does it without a run, and draws the plots and writes `peers.md` anew; `make peers` does at the end of one.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from landline.bench.measures import UPSTREAM_ALONE
from landline.bench.results import Table
from peers.plots import write_plots
from peers.report import (
    RESULTS,
    Comparison,
    Standing,
    describe_setting,
    markdown_table,
    probe_table,
    read_comparison,
    shown_columns,
    standings,
    value_table,
    write_comparison,
)

PAGE = Path(__file__).parents[2] / "docs" / "proof.md"
_BLOCK = re.compile(r"(<!-- peers: ([^>]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
_BEHIND = 0.95
"""Below this factor Landline is behind; nearer to 1 two medians of a few rounds are not told apart."""
_AHEAD = 1 / _BEHIND


def refresh(comparison: Comparison) -> None:
    """Writes the page's blocks."""
    PAGE.write_text(fill(PAGE.read_text(), comparison))


def fill(text: str, comparison: Comparison) -> str:
    """The page with every block made from the comparison. Raises LookupError for a block that nothing makes."""
    return _BLOCK.sub(lambda found: found[1] + "\n".join(["", *make(found[2], comparison), "", ""]) + found[4], text)


def make(block: str, comparison: Comparison) -> Sequence[str]:
    """The lines of one block: `setting`, `probe`, `behind`, `score` or `TABLE / COLUMN`."""
    if block in _BLOCKS:
        return _BLOCKS[block](comparison)
    name, _, title = block.partition(" / ")
    table = next((table for table in comparison.tables if table.name == name), None)
    column = next((column for column in shown_columns(table) if column.name == title), None) if table else None
    if table is None or column is None:
        raise LookupError(f"the page has a block {block!r}, which the comparison does not hold")
    return value_table(table, column)


def _behind(comparison: Comparison) -> list[str]:
    behind = sorted((each for each in _judged(comparison) if each.factor < _BEHIND), key=lambda each: each.factor)
    if not behind:
        return ["Nowhere in this run."]
    rows = [[each.table, each.column, each.case, each.rival, f"{1 / each.factor:.1f} times"] for each in behind]
    return markdown_table(["table", "value", "case", "ahead is", "by"], rows)


def _score(comparison: Comparison) -> list[str]:
    rows: list[list[str]] = []
    judged = _judged(comparison)
    for table in dict.fromkeys(each.table for each in judged):
        factors = [each.factor for each in judged if each.table == table]
        ahead = sum(factor > _AHEAD for factor in factors)
        behind = sum(factor < _BEHIND for factor in factors)
        rows.append([table, str(ahead), str(len(factors) - ahead - behind), str(behind)])
    return markdown_table(["table", "ahead of every peer", "as good as the best", "behind"], rows)


def _judged(comparison: Comparison) -> list[Standing]:
    tables: list[Table] = list(comparison.tables)
    return [each for each in standings(tables) if each.rival != UPSTREAM_ALONE]


_BLOCKS: Mapping[str, Callable[[Comparison], Sequence[str]]] = {
    "setting": describe_setting,
    "probe": lambda comparison: probe_table(comparison.probed, comparison.absent),
    "behind": _behind,
    "score": _score,
}


def write_everything(comparison: Comparison) -> None:
    """JSON, tables, plots and this page's blocks."""
    write_comparison(comparison)
    write_plots(comparison, RESULTS)
    refresh(comparison)


if __name__ == "__main__":
    write_everything(read_comparison())
