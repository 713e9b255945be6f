"""DFEW: clips from films with one of seven emotions, in five official folds.

Source: Jiang et al., 2020, https://arxiv.org/abs/2008.05924; on request from the authors. Layout:
the tables `EmoLabel_DataSplit/{train,test}(single-labeled)/set_{1..5}.csv`, and the frames in the
first of these folders that exists: `Clip/jpg_256/00001`, `Clip/clip_224x224/00001`,
`Clip/clip_224x224_16f/00001`. Each clip counts as its own subject, because the people are unknown.
Papers choose their best epoch on the test clips; here the other official folds choose instead.
"""

from functools import partial
from pathlib import Path

from fer_core.data.dataset import Dataset, Published, Totals
from fer_core.data.labels import codes
from fer_core.data.manifest import Manifest
from fer_core.data.protocol import Protocol
from fer_core.data.reading import Faulty, Verdict, by_table, coded
from fer_core.data.tables.tables import need, rows, whole
from fer_core.errors import DataError, ProtocolError

SPLITS = "EmoLabel_DataSplit"
FRAMES = ("jpg_256", "clip_224x224", "clip_224x224_16f")
FOLDS = ("1", "2", "3", "4", "5")
EMOTIONS = codes("happiness sadness neutral anger surprise disgust fear", start=1)


def manifest(root: Path) -> Manifest:
    """Read the clips that the tables list; a clip's part is the fold that tests on it."""
    splits = need(root, SPLITS)
    folders = [splits.parent / "Clip" / name for name in FRAMES]
    frames = next((folder for folder in folders if folder.is_dir()), None)
    if frames is None:
        raise DataError(
            f"{splits.parent} holds no frames: it needs one of Clip/{', Clip/'.join(FRAMES)}."
        )
    judged: dict[Path, Verdict] = {}
    for side in ("train", "test"):
        for fold in FOLDS:
            table = splits / f"{side}(single-labeled)" / f"set_{fold}.csv"
            part = fold if side == "test" else None
            for line, row in rows(table, ("video_name", "label")):
                name, place = whole(row["video_name"]), f"{side}/{table.name}, line {line}"
                path = frames / name.zfill(5) if name else splits / place
                verdict = coded(whole(row["label"]), EMOTIONS, part=part, place=place)
                judged[path] = verdict if name else Faulty("it names no video", place)
    return by_table("dfew", root, judged.items())


def _fold(manifest: Manifest, *, fold: str) -> Protocol:
    """Seal the test clips of one fold, and let those of each other fold choose in turn."""
    parts = {
        part: tuple(clip.subject for clip in manifest.clips if clip.part == part) for part in FOLDS
    }
    if empty := [part for part, clips in parts.items() if not clips]:
        raise ProtocolError(f"{manifest.root} has no test clips of fold {', '.join(empty)}.")
    rest = tuple(clip.subject for clip in manifest.clips if clip.part is None)
    sealed = parts.pop(fold)
    return Protocol(name=f"fold{fold}", sealed=sealed, folds=tuple(parts.values()), train=rest)


DATASET = Dataset(
    manifest=manifest,
    totals=(Totals(source="fold 1 of its tables", clips=9_356 + 2_341),),
    protocols={
        f"fold{fold}": Published(
            about=f"the test clips of fold {fold} of Jiang et al. 2020 are sealed, those of the "
            "other folds choose in turn",
            split=partial(_fold, fold=fold),
        )
        for fold in FOLDS
    },
    anonymous=True,
)
