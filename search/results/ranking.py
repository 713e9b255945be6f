"""The order of the leaderboard, and how it looks on a terminal."""

from typing import Any

import pandas as pd
from rich.table import Table

from fer_core import config as configs
from fer_core.config import Config, StreamConfig

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
_BESIDE = ("trial", "task", "stands for", "val_uar±std", "test_uar [95 %]", "printed")
_WRAPPED = ("family", "backbone")  # where a terminal is too narrow
_SHOWN = 40  # rows of the printed table
_MARKS = {"baseline": "base", "published": "print"}  # in place of a trial's number


def rank(frame: pd.DataFrame) -> pd.DataFrame:
    """Order rows: complete trials by val_uar, the best first, then pruned ones, then failed.

    Scores of two tasks, or of two splits, do not compare: each has its own ranking, one after the
    other. Printed figures compare with none, and come last.
    """
    keyed = frame.assign(
        _order=frame["state"].map({s: i for i, s in enumerate(STATES)}),
        _printed=frame["source"] == "published",
    )
    by = ["task", "_printed", "protocol_id", "_order", "val_uar", "study", "trial"]
    ascending = [name != "val_uar" for name in by]
    ranked = keyed.sort_values(by, ascending=ascending, na_position="last")
    return ranked.drop(columns=["_order", "_printed"]).reset_index(drop=True)


def searched(ranked: pd.DataFrame) -> pd.DataFrame:
    """Leave the trials: neither baselines nor printed figures."""
    return ranked[ranked["source"] == "search"]


def table(ranked: pd.DataFrame) -> Table:
    """Lay out the first rows for people: what was chosen, and how well it does.

    Where trials stand for printed rows, these stand beside them and have no row of their own.
    """
    beside = bool(searched(ranked)["published"].notna().any())
    shown = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))  # 80 columns hold it
    for name in _BESIDE if beside else _HEADINGS:
        shown.add_column(name, no_wrap=name not in _WRAPPED)
    alone = (ranked["source"] != "published") | ranked["family"].isna()
    rows = ranked[alone].astype(object)
    for row in rows.head(_SHOWN).to_dict("records"):
        said = {str(name): None if pd.isna(value) else value for name, value in row.items()}
        shown.add_row(*(_cells_beside(said) if beside else _cells(said)))
    if len(rows) > _SHOWN:
        shown.caption = f"and {len(rows) - _SHOWN} more"
    return shown


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    config = configs.from_json(row["config_json"]) if row["config_json"] else None
    if row["source"] == "published":
        figure = f"printed: {row['published_accuracy']:.3f}"
        return (_trial(row), _words(row), "", "", "", "", figure, "")
    if config is None:  # a baseline is what reads what
        reads, _, by = (row["family"] or "").partition("+")
        return (_trial(row), reads, by, "", "", "", _val(row), _test(row))
    return (_trial(row), config.family, *_choices(config), _val(row), _test(row))


def _cells_beside(row: dict[str, Any]) -> tuple[str, ...]:
    config = configs.from_json(row["config_json"]) if row["config_json"] else None
    name = (config.stands_for if config else None) or row["family"] or _words(row)
    accuracy = row["published_accuracy"]
    printed = "" if accuracy is None else f"{accuracy:.3f}"
    return (_trial(row), row["task"], name, _val(row), _test(row), printed)


def _choices(config: Config) -> tuple[str, ...]:
    images, views = config.images, dict.fromkeys(stream.view for stream in config.images)
    names = [_name(s) if isinstance(s, StreamConfig) else "geometry" for s in config.streams]
    shown = "+".join(dict.fromkeys(names)) + (f" {'+'.join(views)}" if len(views) > 1 else "")
    frozen = dict.fromkeys(f"{stream.freeze_depth}/{stream.blocks}" for stream in images)
    pooling = dict.fromkeys(stream.pooling for stream in images)
    dims = dict.fromkeys(str(stream.pca_dim or "") for stream in images)
    return (shown, *("+".join(values) for values in (frozen, pooling, dims)))


def _name(stream: StreamConfig) -> str:
    package = stream.weights == "package"
    return stream.backbone if package else f"{stream.backbone} {stream.weights}"


def _words(row: dict[str, Any]) -> str:
    """Give what was printed of a configuration, with which a note begins."""
    return str(row["note"] or "").partition(":")[0]


def _trial(row: dict[str, Any]) -> str:
    return _MARKS.get(row["source"]) or str(row["trial"])


def _val(row: dict[str, Any]) -> str:
    if row["val_uar"] is None:
        return ""
    spread = row["val_uar_std"]
    return f"{row['val_uar']:.3f}" + ("" if spread is None else f"±{spread:.3f}")


def _test(row: dict[str, Any]) -> str:
    if row["test_uar"] is None:
        return "" if row["state"] == "complete" else str(row["state"])
    return f"{row['test_uar']:.3f} [{row['test_uar_low']:.3f}, {row['test_uar_high']:.3f}]"
