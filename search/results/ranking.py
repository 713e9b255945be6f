"""The order of the leaderboard, and how it looks on a terminal."""

from typing import Any

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.table import Table

STATES = ("complete", "pruned", "failed")
_SHOWN = 20  # rows of the printed table


def rank(frame: pd.DataFrame) -> pd.DataFrame:
    """Order rows: complete trials by val_uar, the best first, then pruned ones, then failed."""
    keyed = frame.assign(_order=frame["state"].map({s: i for i, s in enumerate(STATES)}))
    by = ["_order", "val_uar", "study", "trial"]
    ranked = keyed.sort_values(by, ascending=[True, False, True, True], na_position="last")
    return ranked.drop(columns="_order").reset_index(drop=True)


def table(ranked: pd.DataFrame) -> Table:
    """Lay out the first rows for people: what was chosen, and how well it does."""
    shown = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("trial", "family", "features", "val_uar ± std", "test_uar [95 %]"):
        shown.add_column(name)
    for row in ranked.head(_SHOWN).astype(object).to_dict("records"):
        said = {str(name): None if pd.isna(value) else value for name, value in row.items()}
        shown.add_row(*_cells(said))
    if len(ranked) > _SHOWN:
        shown.caption = f"and {len(ranked) - _SHOWN} more"
    return shown


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    features = f"{row['config.backbone']}/{row['config.freeze_depth']} {row['config.pooling']}"
    if row["config.pca_dim"] is not None:
        features += f" PCA {row['config.pca_dim']:.0f}"
    val, test = "", "" if row["state"] == "complete" else row["state"]
    if row["val_uar"] is not None:
        spread = row["val_uar_std"]
        val = f"{row['val_uar']:.3f}" + ("" if spread is None else f" ± {spread:.3f}")
    if row["test_uar"] is not None:
        test = f"{row['test_uar']:.3f} [{row['test_uar_low']:.3f}, {row['test_uar_high']:.3f}]"
    known = row["config_id"] is not None
    return (str(row["trial"]), row["family"] or "", features * known, val, test)
