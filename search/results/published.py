"""The figures of the study that this project repeats, to stand beside ours on the leaderboard.

They are from Garcia Zapata 2018, master thesis, UPC Barcelona: Deep Learning for Expression
Recognition in Image Sequences, whose code is public (github.com/dangz90). None of them compares
with our scores: each is an accuracy on the validation data of one split, over single frames or
windows, at the epoch that did best on these same data. What else is wrong with single figures was
read from that code.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from functools import partial

from fer_core.config import Config

SOURCE = "Garcia Zapata 2018"
FINAL = 14  # the table of the method that the study proposes, without describing it
_WHY = "validation accuracy of the best epoch on these data, one split"
_FIRST = "'first frozen' is defined nowhere"
_PCA = "PCA was never applied: raw 4096-d features of a CNN fine-tuned on the same split"
_IMAGES = "no softmax before its loss, and the cell read the CNN's class scores, not features"
_RANDOM = (
    "449 validation frames, its neighbours 1,982 and 2,625; its frozen VGG was probably random"
)
_TWO = "1,982 validation frames, where the rows beside it have 449 and 2,625"
_POINTS = "2,625 validation frames, and no committed confusion matrix comes near it"
_OUTPUTS = "12 outputs for 6 classes"
_CHANCE = "chance, 1/12"
_METHOD = "the study does not say what it is"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One published figure: a row of a table of the study."""

    table: int
    dataset: str
    task: str
    accuracy: float  # fraction
    words: str  # the configuration, in the study's words
    caveat: str  # what else is wrong with this figure, or ""

    @property
    def source(self) -> str:
        return f"{SOURCE}, table {self.table}"

    @property
    def why(self) -> str:
        """Say why the figure does not compare with our scores."""
        unit = "5-frame windows" if self.table in (8, 12) else "single frames"
        return "; ".join(filter(None, (f"{_WHY}, {unit}", self.caveat)))


def _row(
    table: int, accuracy: float, words: str, caveat: str = "", *, oulu: bool = False
) -> Figure:
    return Figure(
        table=table,
        dataset="oulu_casia" if oulu else "sase_fe",
        task="hidden" if table in (7, 8, FINAL) and not oulu else "emotion",
        accuracy=accuracy,
        words=words,
        caveat=caveat,
    )


_oulu = partial(_row, oulu=True)


ROWS: Mapping[str, Figure] = {
    "t4-none-frozen": _row(4, 0.2842, "none frozen, no pooling"),
    "t4-first-frozen-3fc": _row(4, 0.1970, "first frozen, 3 FC, no pooling", _FIRST),
    "t4-all-frozen-3fc": _row(4, 0.4281, "all frozen, 3 FC"),
    "t4-all-frozen-3fc-avg": _row(4, 0.4207, "all frozen, 3 FC, average pooling"),
    "t4-all-frozen-3fc-max": _row(4, 0.4375, "all frozen, 3 FC, max pooling"),
    "t4-all-frozen-0fc": _row(4, 0.4250, "all frozen, no FC, no pooling"),
    "t4-all-frozen-0fc-avg": _row(4, 0.4226, "all frozen, no FC, average pooling"),
    "t4-all-frozen-0fc-max": _row(4, 0.4310, "all frozen, no FC, max pooling"),
    "t5-frontal-soft": _row(5, 0.454692, "frontalized, soft symmetry"),
    "t5-frontal": _row(5, 0.594999, "frontalized, no symmetry"),
    "t6-two-stream": _row(6, 0.583234, "face + frontalized, fused before the FC layers"),
    "t7-face": _row(7, 0.2806, "face, CNN"),
    "t7-frontal": _row(7, 0.2866, "frontalized, CNN"),
    "t7-two-stream": _row(7, 0.3206, "frontalized + face, two-stream CNN"),
    "t7-geometry": _row(7, 0.2994, "frontalized + geometry, CNN + geometry"),
    "t8-c3d": _row(8, 0.128125, "5 frames, frontalized, 3D CNN"),
    "t8-lstm-features": _row(8, 0.159200, "5 frames, features (PCA 100), CNN + LSTM", _PCA),
    "t8-lstm-images": _row(8, 0.148684, "5 frames, images, CNN + LSTM", _IMAGES),
    "t8-gru-features": _row(8, 0.183311, "5 frames, features (PCA 100), CNN + GRU", _PCA),
    "t8-gru-images": _row(8, 0.084134, "5 frames, images, CNN + GRU", f"{_CHANCE}; {_IMAGES}"),
    "t9-face": _oulu(9, 0.2386, "face, CNN", _RANDOM),
    "t9-frontal": _oulu(9, 0.2659, "frontalized, CNN", _RANDOM),
    "t9-two-stream": _oulu(9, 0.2737, "face + frontalized, two-stream CNN", _TWO),
    "t9-geometry": _oulu(9, 0.4411, "frontalized + geometry, CNN + geometry", _POINTS),
    "t12-c3d": _oulu(12, 0.2000, "5 frames, frontalized, 3D CNN", _OUTPUTS),
    "t12-lstm-features": _oulu(12, 0.2062, "5 frames, features (PCA 100), CNN + LSTM", _PCA),
    "t12-lstm-images": _oulu(12, 0.2209, "5 frames, images, CNN + LSTM", _IMAGES),
    "t12-gru-features": _oulu(12, 0.1797, "5 frames, features (PCA 100), CNN + GRU", _PCA),
    "t12-gru-images": _oulu(12, 0.2241, "5 frames, images, CNN + GRU", _IMAGES),
    "t14-sase-still": _row(14, 0.6275, "face + frontalized", _METHOD),
    "t14-sase-temporal": _row(14, 0.4298, "frontalized, temporal", _METHOD),
    "t14-oulu-still": _oulu(14, 0.5890, "frontalized + geometry", _METHOD),
    "t14-oulu-temporal": _oulu(14, 0.5673, "frontalized, temporal", _METHOD),
}


def repeated_by(config: Config) -> Figure | None:
    """Give the published figure whose configuration this config repeats."""
    return ROWS.get(config.stands_for) if config.stands_for else None


def narrow(config: Config) -> str | None:
    """Say how much smaller a preset's network is than the published one; None if it is not."""
    small = next((stream for stream in config.images if stream.width < 1), None)
    if config.stands_for is None or small is None:
        return None
    trained = f"{config.optimizer.epochs} epochs at {config.optimizer.lr:g}"
    return (
        f"narrow: 1/{1 / small.width:g} of the published width, {small.weights} weights, "
        f"{small.crop_pixels} px, {trained}: no --weights vgg16=FILE"
    )


def is_last_of(figure: Figure, dataset: str, tasks: Container[str]) -> bool:
    """Return whether a figure is in the study's last table, for this dataset and these tasks."""
    return figure.table == FINAL and figure.dataset == dataset and figure.task in tasks
