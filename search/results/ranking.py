"""The order of the leaderboard, and how it looks on a terminal."""

from typing import Any

import pandas as pd
from rich.table import Table

from fer_core import config as configs

STATES = ("complete", "pruned", "failed")
_HEADINGS = (
    "trial",
    "family",
    "backbone",
    "frozen",
    "pooling",
    "PCA",
    "val_uar±std",
    "test_uar [95 %]",
)
_SHOWN = 20  # rows of the printed table


def rank(frame: pd.DataFrame) -> pd.DataFrame:
    """Order rows: complete trials by val_uar, the best first, then pruned ones, then failed.

    Scores of two tasks, or of two splits, do not compare: each has its own ranking, one after the
    other.
    """
    keyed = frame.assign(_order=frame["state"].map({s: i for i, s in enumerate(STATES)}))
    by = ["task", "protocol_id", "_order", "val_uar", "study", "trial"]
    ranked = keyed.sort_values(
        by, ascending=[True, True, True, False, True, True], na_position="last"
    )
    return ranked.drop(columns="_order").reset_index(drop=True)


def table(ranked: pd.DataFrame) -> Table:
    """Lay out the first rows for people: what was chosen, and how well it does."""
    shown = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))  # 80 columns hold it
    for name in _HEADINGS:
        shown.add_column(name, no_wrap=True)
    for row in ranked.head(_SHOWN).astype(object).to_dict("records"):
        said = {str(name): None if pd.isna(value) else value for name, value in row.items()}
        shown.add_row(*_cells(said))
    if len(ranked) > _SHOWN:
        shown.caption = f"and {len(ranked) - _SHOWN} more"
    return shown


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    start = (str(row["trial"]), row["family"] or "")
    return (*start, *_choices(row["config_json"]), _val(row), _test(row))


def _choices(config_json: str | None) -> tuple[str, ...]:
    if config_json is None:
        return ("", "", "", "")
    config = configs.from_json(config_json)
    stream = config.stream
    frozen = f"{stream.freeze_depth}/{stream.blocks}"
    package = stream.weights == "package" or stream.backbone == "c3d"
    backbone = stream.backbone if package else f"{stream.backbone} {stream.weights}"
    return (backbone, frozen, stream.pooling, str(config.pca_dim or ""))


def _val(row: dict[str, Any]) -> str:
    if row["val_uar"] is None:
        return ""
    spread = row["val_uar_std"]
    return f"{row['val_uar']:.3f}" + ("" if spread is None else f"±{spread:.3f}")


def _test(row: dict[str, Any]) -> str:
    if row["test_uar"] is None:
        return "" if row["state"] == "complete" else str(row["state"])
    return f"{row['test_uar']:.3f} [{row['test_uar_low']:.3f}, {row['test_uar_high']:.3f}]"
