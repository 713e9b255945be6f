"""The order of the leaderboard's rows, and the table that is printed of them.

`search/run.py` prints the table of a study when it ends, and `explained` below it, which says what
the columns mean. `search.read_leaderboard` gives all studies of a dataset in the same order.
"""

import json
import textwrap
from collections.abc import Iterator
from typing import Any

import pandas as pd
from rich.table import Table

from fer_core import config as configs
from fer_core.config import Config, StreamConfig
from fer_core.data.subjects import BY_CLIP
from fer_core.intervals import LEAST_SUBJECTS

STATES = ("complete", "pruned", "failed")
# Columns that must be equal for scores to compare: how predictions are scored, the split, the
# clips, who found the landmarks, and which frames the study reads.
_COMPARABLE = ("_version", "protocol_id", "data_sha256", "_landmarks", "frames_read")
_SCORES = ("val_uar±std", "rank", "test_uar [95 %]")
_HEADINGS = ("trial", "family", "backbone", "frozen", "pool", "PCA", *_SCORES)
_BESIDE = ("trial", "task", "stands for", *_SCORES, "paper")
_OPTIONAL = ("PCA", "rank")  # left out where they are empty
_WRAPPED = ("family", "backbone", "stands for")  # where a terminal is too narrow
_SHOWN = 40  # most rows of the printed table
_UNRANKED = ("published", "cross-dataset")  # sources whose rows compare with no trial
# Sources that are named in place of a trial's number.
_MARKS = ("nested", "baseline", *_UNRANKED)
_MEANINGS = {  # heading, mark or state: what it means; printed if it is in the table
    "val_uar±std": "unweighted average recall on the validation subjects of all folds together, ± "
    "the standard deviation between folds. It is optimistic, because the search selected by it.",
    "rank": "among the complete trials by val_uar: the ranks that a trial may have in truth, by a "
    "paired bootstrap over subjects.",
    "test_uar [95 %]": "the same on the{people} sealed subjects, which the search never saw, with "
    "its 95 % interval. Each baseline has it, and of the trials the headline alone.",
    "*": "the headline: it had the highest val_uar when the sealed subjects were opened. The best "
    "trial of each other family has the difference of its test_uar to the headline's, with a "
    "95 % interval that is corrected for the number of differences (Holm).",
    "nested": "the score of the whole procedure, over all subjects: each fold was sealed in turn, "
    "a search on the other folds chose a trial, and it was tested on the sealed fold, once.",
    "frozen": "for a/b, the first a of the backbone's b blocks keep their weights.",
    "pool": "how a feature map is reduced to a vector; none keeps the whole map.",
    "PCA": "dimensions to which the features are reduced; empty: they are not.",
    "stands for": "the published configuration that the trial repeats.",
    "paper": "its published accuracy, which does not compare with our scores.",
    "baseline": "a simple model that every search should beat, on the same folds.",
    "published": "a published figure; it does not compare with our scores.",
    "cross-dataset": "a model that another dataset has trained; it was tested on this one.",
    BY_CLIP: "the split of these rows is not subject-independent: nearly every clip counts as a "
    "subject of its own, so one person may be on several sides.",
    "pruned": "stopped early, because other trials did better at that point; in brackets its "
    "val_uar on the folds that it had trained.",
    "failed": "ended by an error; the study's folder failures/ has its traceback.",
}


def rank(frame: pd.DataFrame) -> pd.DataFrame:
    """Order rows: complete trials by val_uar, the best first, then pruned ones, then failed ones.

    The score of a nested study stands before its trials. Scores compare only where all of
    `_COMPARABLE` is equal: each such group has a ranking of its own, one after the other. Published
    figures, and models of other datasets that were tested on this one, compare with no trial, and
    come last.
    """
    sources = frame["versions"].map(lambda text: json.loads(text or "{}"))
    keyed = frame.assign(
        _order=frame["state"]
        .map({s: i for i, s in enumerate(STATES)})
        .mask(frame["source"] == "nested", -1),
        _published=frame["source"].isin(_UNRANKED),
        # of the study: a pruned trial of an earlier version keeps it, and stands with its study
        _version=frame.groupby("study")["scoring_version"].transform("max").fillna(0),
        _landmarks=sources.map(lambda names: names.get("landmarks")),
        _score=frame["val_uar"].fillna(frame["val_uar_partial"]),
    )
    by = ["task", "_published", *_COMPARABLE, "_order", "_score", "study", "trial"]
    ascending = [name not in ("_score", "_version") for name in by]
    ranked = keyed.sort_values(by, ascending=ascending, na_position="last")
    return ranked[frame.columns].reset_index(drop=True)


def searched(ranked: pd.DataFrame) -> pd.DataFrame:
    """Select the rows of trials, without baselines and published figures."""
    return ranked[ranked["source"] == "search"]


def table(ranked: pd.DataFrame) -> Table:
    """Make a table of the first rows for people: what was chosen, and how well it does.

    Trials that repeat published configurations have a table of their own, in which the published
    figure stands in the trial's row.
    """
    beside = _repeats_published(ranked)
    names, rows = _BESIDE if beside else _HEADINGS, _rows(ranked)
    cells = [
        dict(zip(names, _cells_beside(row) if beside else _cells(row), strict=True))
        for row in _records(rows.head(_SHOWN))
    ]
    shown = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))  # fits into 80 columns
    for name in names:
        if name not in _OPTIONAL or any(row[name] for row in cells):
            shown.add_column(name, no_wrap=name not in _WRAPPED, overflow="fold")
    headings = [str(column.header) for column in shown.columns]
    for row in cells:
        shown.add_row(*(row[name] for name in headings))
    if len(rows) > _SHOWN:
        shown.caption = f"and {len(rows) - _SHOWN} more"
    return shown


def explained(ranked: pd.DataFrame) -> str:
    """Explain the table's headings, marks and states, in lines of at most 80 columns."""
    rows = _rows(ranked).head(_SHOWN)
    headings = {str(column.header) for column in table(ranked).columns}
    shown = headings | {*rows["source"], *rows["state"], *rows["split"].dropna()}
    shown |= {"*"} & set(map(_mark, _records(rows)))
    alone = ranked["source"] != "nested"
    tested = ranked.loc[alone, "test_subjects"].dropna().unique()
    if not len(tested) and not alone.all():
        shown.discard("test_uar [95 %]")  # only the nested score has it, and is explained itself
    people = f" {tested[0]:.0f}" if len(tested) == 1 else ""
    if len(tested) and tested.min() < LEAST_SUBJECTS:
        people += f" (an interval needs {LEAST_SUBJECTS})"
    meanings = {name: text.replace("{people}", people) for name, text in _MEANINGS.items()}
    if not len(tested):
        meanings["test_uar [95 %]"] = "empty: no trial had a test on sealed subjects."
    lines = [f"{name}: {meaning}" for name, meaning in meanings.items() if name in shown]
    lines += [*_ties(ranked), *_sealed_ranks(ranked), *_repeats(ranked)]
    best = ranked[ranked["val_uar_corrected"].notna()]
    lines += [
        f"val_uar_corrected: trial {trial} has val_uar {whole:.3f}; corrected for having been "
        f"chosen as the best of the complete trials, it is {score:.3f} (BBC-CV)."
        for trial, whole, score in zip(
            best["trial"], best["val_uar"], best["val_uar_corrected"], strict=True
        )
    ]
    return "\n".join(textwrap.fill(line, 80, subsequent_indent="  ") for line in lines)


def _ties(ranked: pd.DataFrame) -> Iterator[str]:
    """Say how many trials cannot be told from the best one."""
    for _, trials in searched(ranked).groupby("task", sort=False):
        tied = trials["val_tied_with_best"].dropna()
        if len(tied) > 1:
            yield (
                f"tied: {tied.sum()} of {len(tied)} complete trials cannot be told from the best "
                "by their val_uar."
            )


def _sealed_ranks(ranked: pd.DataFrame) -> Iterator[str]:
    """Give the ranks of the tested trials."""
    for _, trials in searched(ranked).groupby("task", sort=False):
        tested = trials[trials["rank_low"].notna()]
        if len(tested) > 1:
            ranks = ", ".join(
                f"trial {row['trial']} {_range(row['rank_low'], row['rank_high'])}"
                f"{' (tied with the best)' if row['tied_with_best'] else ''}"
                for row in _records(tested)
            )
            yield f"ranks on the sealed subjects: {ranks}."


def _repeats(ranked: pd.DataFrame) -> Iterator[str]:
    """Give the mean score of each headline over its training seeds."""
    for row in _records(ranked[ranked["test_uar_mean"].notna()]):
        yield (
            f"repeats: trial {row['trial']} was refitted with {row['test_repeats']:.0f} seeds; the "
            f"mean test_uar is {row['test_uar_mean']:.3f} ± {row['test_uar_std']:.3f}. test_uar is "
            "that of the first seed; differences and ranks are those of the means."
        )


def _repeats_published(ranked: pd.DataFrame) -> bool:
    return bool(searched(ranked)["published"].notna().any())


def _rows(ranked: pd.DataFrame) -> pd.DataFrame:
    """Select the rows of the table: without published figures that stand in a trial's row."""
    alone = (ranked["source"] != "published") | ranked["family"].isna()
    return ranked[alone]


def _records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Give the values of each row by column; None where there is none."""
    return [
        {str(name): None if pd.isna(value) else value for name, value in row.items()}
        for row in rows.astype(object).to_dict("records")
    ]


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    config = configs.from_json(row["config_json"]) if row["config_json"] else None
    if row["source"] == "published":
        figure = f"{_words(row)}: accuracy {row['published_accuracy']:.3f}"
        return ("", "published", figure, *[""] * 6)
    if row["source"] == "nested":
        return ("", "nested", f"{row['folds']} searches", "", "", "", *_scores(row))
    if row["source"] == "baseline":
        return ("", "baseline", _spaced(row["family"]), "", "", "", *_scores(row))
    if config is None:
        return (_trial(row), "", "", "", "", "", *_scores(row))
    return (_trial(row), config.family, *_choices(config), *_scores(row))


def _cells_beside(row: dict[str, Any]) -> tuple[str, ...]:
    config = configs.from_json(row["config_json"]) if row["config_json"] else None
    name = (config.stands_for if config else None) or row["family"] or _words(row)
    accuracy = row["published_accuracy"]
    figure = "" if accuracy is None else f"{accuracy:.3f}"
    return (_trial(row), row["task"], name, *_scores(row), figure)


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
    """Give the publication's words for a configuration, with which its note begins."""
    return str(row["note"] or "").partition(":")[0]


def _trial(row: dict[str, Any]) -> str:
    return row["source"] if row["source"] in _MARKS else f"{row['trial']}{_mark(row)}"


def _mark(row: dict[str, Any]) -> str:
    return "*" if row["headline"] else ""


def _spaced(name: str) -> str:
    """Let a name with a plus wrap there."""
    return name.replace("+", " + ")


def _scores(row: dict[str, Any]) -> tuple[str, str, str]:
    return (_val(row), _range(row["val_rank_low"], row["val_rank_high"]), _test(row))


def _range(low: int | None, high: int | None) -> str:
    return "" if low is None else f"{low:.0f}" if low == high else f"{low:.0f}-{high:.0f}"


def _val(row: dict[str, Any]) -> str:
    if row["val_uar"] is None:
        partial = row["val_uar_partial"]
        return "" if partial is None else f"({partial:.3f})"
    spread = row["val_uar_std"]
    return f"{row['val_uar']:.3f}" + ("" if spread is None else f"±{spread:.3f}")


def _test(row: dict[str, Any]) -> str:
    if row["test_difference"] is not None:
        ends = [row["test_difference_low"], row["test_difference_high"]]
        interval = "" if None in ends else " [{:.3f}, {:.3f}]".format(*ends)
        return f"{row['test_difference']:+.3f}{interval}"
    if row["test_uar"] is None:
        return "" if row["state"] == "complete" else str(row["state"])
    if row["test_uar_low"] is None:
        return f"{row['test_uar']:.3f} [{row['test_subjects']:.0f} subjects]"
    return f"{row['test_uar']:.3f} [{row['test_uar_low']:.3f}, {row['test_uar_high']:.3f}]"
