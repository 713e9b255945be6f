"""Write the model card of an exported model: what it is, how well it does, what it is not for.

`search/replay.py` writes the card into the model's folder when it exports a row of the leaderboard.
"""

import json
from collections.abc import Mapping
from typing import Any

from fer_core.config import GIVEN, Config, StreamConfig
from fer_core.data.subjects import BY_CLIP
from fer_core.faces.landmarks import base_engine
from fer_core.trial.fitted_model import Model
from search.study.folder import Record
from search.study.parts import TrialResult

_TERMS = {  # source of the weights: their licence
    "package": "dlib's face network: CC0",
    "file": "the user's file; VGG-Face's are for non-commercial research (CC BY-NC 4.0)",
    "imagenet": "torchvision's ImageNet weights: BSD-3-Clause, ImageNet's terms of access",
}
_LANDMARKS = {
    "dlib": "dlib's 68 points (iBUG 300-W's terms exclude commercial use)",
    "face_alignment": "face-alignment's network, 68 points",
    "data": "the dataset's own 68 points; on other videos the best engine that is installed",
}

_SEALED = (
    "A trial of a search, refitted on all development subjects. It was never trained on the sealed",
    "subjects.",
)
_ALL = ("A trial of a search, refitted on all subjects of the dataset: the protocol seals none.",)
_COMMAND = "    python -m fer_core.predict DIR video.mp4"
_LIMITS = (
    "- It knows expressions as its dataset labels them, not what anyone feels. It is made for",
    "  research on such data and must not decide over people.",
    "- It was scored on one dataset. On other faces, cameras and cultures it may do worse.",
)


def text(
    model: Model,
    result: TrialResult,
    record: Record,
    sealed_scores: Mapping[str, Any] | None,
    nested: Mapping[str, Any] | None = None,
) -> str:
    """Give the text of the card, in Markdown.

    `nested` is the nested score of the study and task, from `nested_score.read`.
    """
    title = f"# {model.config.family} for {model.task} on {record.dataset}"
    about = _SEALED if record.protocol["sealed"] else _ALL
    scores = _scores(result, record, sealed_scores, nested, len(model.classes))
    sections = [
        [title, "", *about, "", _COMMAND],
        [
            "## What it tells apart",
            "",
            f"{len(model.classes)} classes: {', '.join(model.classes)}.",
        ],
        ["## How well", "", *scores],
        ["## What it sees", "", *_inputs(model)],
        ["## What to mind", "", *_LIMITS, *_terms(model.config)],
        ["## Where it comes from", "", *_origin(model.config, result, record)],
    ]
    return "\n\n".join("\n".join(lines) for lines in sections) + "\n"


def _inputs(model: Model) -> list[str]:
    clip, config = model.clip, model.config
    active = ", ".join(f"{name} {value}" for name, value in clip.active().items())
    apart = f"{model.frame_seconds:.3f} s apart, as in training"
    return [
        f"- {clip.frames} frames of a clip ({active}), {apart}.",
        *(f"- {_stream(config, i)}" for i in range(len(config.streams))),
        f"- Landmarks: {_LANDMARKS.get(base_engine(model.landmarks), model.landmarks)}.",
        *(_GIVEN if any(stream.view == GIVEN for stream in config.images) else ()),
    ]


_GIVEN = (
    "- It was trained on faces that were cut out: it takes each picture, whole, for a face. "
    "`--faces found` looks for the face in a picture and cuts it out first.",
)


def _terms(config: Config) -> list[str]:
    weights = dict.fromkeys(stream.weights for stream in config.images)
    return [
        f"- Weights that training started from: {_TERMS[name]}."
        for name in weights
        if name in _TERMS
    ]


def _origin(config: Config, result: TrialResult, record: Record) -> list[str]:
    commit, seed = record.commit_of(result), record.seed + result.seed_offset
    return [
        f"- Trial {result.number} of study `{record.study}`, config `{config.config_id}`",
        f"- Commit {commit}, seed {seed}, protocol `{record.protocol_id}`",
        f"- Data sha256 `{record.data_sha256[:16]}`",
        f"- {json.dumps(dict(result.versions or record.versions))}",
    ]


def _scores(
    result: TrialResult,
    record: Record,
    sealed_scores: Mapping[str, Any] | None,
    nested: Mapping[str, Any] | None,
    classes: int,
) -> list[str]:
    lines = [*_split(record.split), "| subjects | unweighted average recall |", "|---|---|"]
    if result.val_uar is not None:
        spread = "" if result.val_uar_std is None else f" ± {result.val_uar_std:.3f} between folds"
        lines.append(
            f"| development, {len(result.fold_uars)} folds | {result.val_uar:.3f}{spread} |"
        )
    if sealed_scores and "test_uar" not in sealed_scores:
        lines.append(f"| sealed | {_difference(sealed_scores)} |")
    elif sealed_scores:
        people, clips = sealed_scores["test_subjects"], sealed_scores["test_clips"]
        subjects = f"sealed, {people} subjects, {clips} clips"
        lines.append(f"| {subjects} | {sealed_scores['test_uar']:.3f}{_interval(sealed_scores)} |")
    else:
        why = (
            "the protocol seals no subjects"
            if not record.protocol["sealed"]
            else "this row had no sealed test"
        )
        lines.append(f"| sealed | {why} |")
    words = [
        "The first figure is optimistic, because the search selected the best of "
        f"{record.trials} trials by it."
    ]
    if nested:
        found, folds = nested["scores"], nested["folds"]
        people = f"nested, {found['test_subjects']} subjects in {folds} folds, each sealed once"
        lines.append(f"| {people} | {found['test_uar']:.3f}{_interval(found)} |")
        words.append(
            "The nested figure is that of the procedure which chose this model. The model itself "
            "was trained on all subjects."
        )
    lines.append(f"| chance | {1 / classes:.3f} |")
    return [*lines, "", *words]


def _split(kind: str | None) -> list[str]:
    """Say whether the split kept people apart; nothing if an older version did not note it."""
    if kind != BY_CLIP:
        return [f"The split is {kind}.", ""] if kind else []
    return [
        "The split is by-clip, not subject-independent: nearly every clip counts as a subject of",
        "its own, so the people of the scored clips may be among those that trained.",
        "",
    ]


def _difference(sealed_scores: Mapping[str, Any]) -> str:
    """Say how a trial that is not the headline did on the sealed subjects."""
    difference = sealed_scores.get("test_difference")
    if difference is None:
        return "not shown: this trial is not its study's headline"
    low, high = sealed_scores["test_difference_low"], sealed_scores["test_difference_high"]
    interval = "" if low is None else f", 95 % [{low:.3f}, {high:.3f}]"
    return f"{difference:+.3f}{interval} to the headline of its study, which alone has a score"


def _interval(sealed_scores: Mapping[str, Any]) -> str:
    low, high = sealed_scores["test_uar_low"], sealed_scores["test_uar_high"]
    return ", too few for an interval" if low is None else f", 95 % [{low:.3f}, {high:.3f}]"


def _stream(config: Config, index: int) -> str:
    stream = config.streams[index]
    if not isinstance(stream, StreamConfig):
        return f"68 points, encoded as `{stream.encoding}`."
    frozen = f"{stream.freeze_depth} of {stream.blocks} blocks frozen"
    return f"View `{stream.view}` through {stream.backbone} ({stream.weights}; {frozen})."
