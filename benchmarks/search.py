"""Measure how fast a search is, as ratios with targets: ours against a baseline, side by side.

    python benchmarks/search.py [--rows 1,4,7] [--json FILE]

Ours is the library as a user runs it. The baselines are scripts in `baselines/`, as a competent
user of Ray Tune would write them. What runs in one process is timed by its CPU seconds, ours and
theirs in turns; what runs in several, by the clock. The JSON maps a row's number to its ratio, or
to its ratios by name, the farthest from its target first. Rows 2, 3 and 5 share one study of ours.
All rows take about 40 minutes on 2 cores.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# Python puts a script's folder first, where `search` would be this file and not our package.
sys.path[:] = [path for path in sys.path if Path(path).resolve() != ROOT / "benchmarks"]
sys.path.insert(0, str(ROOT))

from benchmarks.rows import (  # noqa: E402  # after the path
    again,
    cached,
    finetune,
    heads,
    images,
    racing,
    unpooled,
)
from benchmarks.rows.result import Ratio, as_json, row_text  # noqa: E402  # after the path


@dataclass(frozen=True)
class Row:
    """A row of the table: what ours is compared with, and the function that measures it."""

    title: str
    measure: Callable[[], list[Ratio]]


ROWS: Mapping[int, Row] = {
    1: Row("a plain script, every epoch from images, whole", images.against_plain),
    2: Row("a plain script, every epoch from images, at 224 px", images.against_images),
    3: Row("a script that extracts once a trial", images.against_extraction),
    4: Row("hand-cached features with Ray Tune and OptunaSearch", cached.against_hand_cached),
    5: Row("the floor of row 2: the least time on this machine", images.against_floor),
    6: Row("a second search over the same data", again.row),
    7: Row("fine-tuning from stored activations, against from images", finetune.row),
    8: Row("stacked heads, against one after the other with fused Adam", heads.row),
    9: Row("an un-pooled 25088-4096-4096-6 head with SGD, exactly reduced", unpooled.row),
    10: Row("pruning and fold racing, against none", racing.row),
    11: Row("trials an hour in a study of 300", cached.hourly),
    12: Row("the driver's time a trial in 1,000 trials, against 100", cached.driver),
}


def main(arguments: Sequence[str] | None = None, table: Mapping[int, Row] = ROWS) -> int:
    """Measure the rows that are asked for, and return 1 if one of them could not be measured."""
    parser = argparse.ArgumentParser(description="Measure how fast a search is.")
    parser.add_argument("--rows", type=_numbers(table), help="such as 1,4,7; default: all")
    parser.add_argument("--json", type=Path, help="write the ratios there, by row")
    options = parser.parse_args(arguments)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    found: dict[str, Any] = {}
    failed = False
    for number in options.rows or list(table):
        row, began = table[number], time.monotonic()
        try:
            ratios = row.measure()
        except Exception as error:  # the other rows are still worth measuring
            failed = True
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            print(f"{number:2d}  {row.title}\n    could not run: {reason}", flush=True)
            continue
        print(row_text(number, row.title, ratios), flush=True)
        print(f"    [{time.monotonic() - began:.0f} s]", flush=True)
        found[str(number)] = as_json(ratios)
        if options.json:  # after each row, because all of them take long
            options.json.write_text(json.dumps(found, indent=2) + "\n")
    return int(failed)


def _numbers(table: Mapping[int, Row]) -> Callable[[str], list[int]]:
    def read(text: str) -> list[int]:
        parts = [part.strip() for part in text.split(",")]
        wrong = [part for part in parts if not part.isdecimal() or int(part) not in table]
        if wrong:
            known = ", ".join(map(str, table))
            raise argparse.ArgumentTypeError(f"there is no row {wrong[0]!r}; the rows are {known}.")
        return [int(part) for part in parts]

    return read


if __name__ == "__main__":
    sys.exit(main())
