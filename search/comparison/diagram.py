"""Draw the critical-difference diagram of methods that were compared across datasets.

An axis shows the mean rank of each method. A bar joins methods if the tests find no difference
between any two of them. Demsar's diagram uses Nemenyi's test. This one uses Wilcoxon's signed-rank
test with Holm's correction (Benavoli, Corani and Mangili 2016,
https://jmlr.org/papers/v17/benavoli16a.html).
"""

import io
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from fer_core.errors import FerError
from fer_core.storage.files import write_atomically
from search.comparison.comparison import AcrossDatasets

FORMATS = ("svg", "png", "pdf")
_INCHES, _DPI = 7.0, 150  # width and resolution
_LINE, _FIRST = 0.32, 0.75  # inches: height of a method's line, and of the axis with the bars' top
_BAR, _OVER = 0.14, 0.02  # inches between bars; share of the axis by which a bar is longer


def check_format(path: Path) -> None:
    """Refuse an ending that is none of `FORMATS`."""
    if path.suffix.removeprefix(".") not in FORMATS:
        raise FerError(f"{path}: a diagram ends in {', '.join(FORMATS)}.")


def draw(found: AcrossDatasets, path: Path) -> None:
    """Write the diagram; the ending of the file chooses its format."""
    methods = len(found.methods)
    left = (methods + 1) // 2  # the better half has its names on the left
    bars = _FIRST / 2 + _BAR * len(found.groups)  # inches from the axis to below the bars
    height = _FIRST + bars + _LINE * left
    figure = Figure(figsize=(_INCHES, height), dpi=_DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(*_limits(methods))
    axes.set_ylim(-(height - _FIRST), _FIRST)  # inches; the axis of ranks is at 0
    axes.axis("off")
    _axis(axes, methods)
    for i, (method, rank) in enumerate(zip(found.methods, found.mean_ranks, strict=True)):
        line = i if i < left else methods - 1 - i
        _method(axes, method, rank, -bars - _LINE * line, on_left=i < left, methods=methods)
    for i, group in enumerate(found.groups):
        ranks = [found.mean_ranks[found.methods.index(method)] for method in group]
        over = _OVER * (methods - 1)
        ends = (min(ranks) - over, max(ranks) + over)
        axes.plot(ends, [-0.18 - _BAR * i] * 2, color="black", linewidth=4, solid_capstyle="butt")
    file = io.BytesIO()
    # "tight" grows the picture where a name is longer than the room for it.
    figure.savefig(file, format=path.suffix.removeprefix("."), bbox_inches="tight")
    write_atomically(path, file.getvalue())


def _limits(methods: int) -> tuple[float, float]:
    """Give the ends of the picture in ranks: names take about as much room as the axis."""
    margin = 0.45 * (methods - 1)
    return 1 - margin, methods + margin


def _axis(axes: Any, methods: int) -> None:
    axes.plot([1, methods], [0, 0], color="black", linewidth=1)
    for rank in range(1, methods + 1):
        axes.plot([rank, rank], [0, 0.1], color="black", linewidth=1)
        axes.text(rank, 0.16, str(rank), ha="center", va="bottom", fontsize=10)
    middle = (1 + methods) / 2
    axes.text(middle, 0.45, "mean rank (1 is best)", ha="center", va="bottom", fontsize=9)


def _method(axes: Any, method: str, rank: float, y: float, *, on_left: bool, methods: int) -> None:
    """Draw a line from the rank of a method down to its name at one side."""
    side = 1 - 0.03 * methods if on_left else methods + 0.03 * methods
    axes.plot([rank, rank, side], [0, y, y], color="black", linewidth=0.8)
    text, align = (
        (f"{method} {rank:.2f} ", "right") if on_left else (f" {rank:.2f} {method}", "left")
    )
    axes.text(side, y, text, ha=align, va="center", fontsize=10)
