"""Tables of figures, as `evaluate` and `compare` print them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from hadgeo.evaluation.evaluate_maps import Evaluation

#: Columns that no table fills.
_NO_MARGIN = 10_000


def show_table(table: Table) -> None:
    """Print a table on stdout, at its full width where that is no terminal: a file has no margin."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _NO_MARGIN
    console.print(table)


def with_interval(evaluation: Evaluation, key: str, digits: int) -> str:
    """A metric as text, with its interval where there is one."""
    text = f"{evaluation.values[key]:.{digits}f}"
    if evaluation.intervals:
        low, high = evaluation.intervals[key]
        text += f" ({low:.{digits}f} - {high:.{digits}f})"
    return text
