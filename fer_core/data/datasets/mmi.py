"""MMI: videos of about 31 subjects, from neutral to an expression and back to neutral.

Source: Pantic et al., 2005, https://doi.org/10.1109/ICME.2005.1521424; on request from the authors.
Layout: `Sessions/<number>/*.avi`, each with a `session.xml` beside it, in which an element with the
name Emotion has a value from 1 to 6. We have never seen a real `session.xml`, so any XML of this
kind is accepted. Other sessions, which show single action units, are ignored.
"""

import re
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

from fer_core.config import ClipConfig
from fer_core.data.dataset import Dataset, Published
from fer_core.data.labels import codes
from fer_core.data.protocol import in_turn
from fer_core.data.reading import Faulty, Ignored, Labels, Verdict, by_place
from fer_core.storage.file_names import VIDEO_SUFFIXES

EMOTIONS = codes("anger disgust fear happiness sadness surprise", start=1)


def _judge(path: Path) -> Verdict | None:
    if path.suffix.lower() not in VIDEO_SUFFIXES:
        return None
    try:
        tags = list(ElementTree.parse(path.with_name("session.xml")).iter())
    except (OSError, ElementTree.ParseError) as error:
        return Faulty(f"the session.xml beside it cannot be read: {error}")
    fields = [{key.lower(): value.strip() for key, value in tag.items()} for tag in tags]
    values = [f.get("value", "") for f in fields if f.get("name", "").lower() == "emotion"]
    people = [f.get("id", "") for tag, f in zip(tags, fields, strict=True) if tag.tag == "Subject"]
    emotions = {EMOTIONS[value] for value in values if value in EMOTIONS}
    if len(emotions) != 1:
        return Ignored("its session.xml does not name one emotion from 1 to 6")
    subject = re.search(r"S\d+", " ".join([path.stem, *people]))
    if subject is None:
        return Faulty("neither its name nor its session.xml names a subject such as S001")
    return Labels(subject=subject[0], emotion=emotions.pop())


PEAK = ClipConfig(sampling="middle", frames=3)
TEN_FOLD = Published(
    about="ten folds, to which subjects are dealt out in ascending order; the middle three frames "
    "(usual, by the survey of Li and Deng 2020)",
    split=partial(in_turn, folds=10),
    clip=PEAK,
)
DATASET = Dataset(  # no totals: papers count 205 to 208 sequences
    manifest=partial(by_place, "mmi", judge=_judge), protocols={"10fold": TEN_FOLD}, peak=PEAK
)
