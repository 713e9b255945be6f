"""Rename the tensors of PyTorch state dicts of VGG-16 to the names in `layers.LAYERS`.

Three formats are known: those of Albanie's converted models, of PyVGGFace, and of torchvision.
They differ in the names of layers only.
"""

from collections.abc import Iterable, Mapping

from torch import Tensor

from fer_core.models.vgg_face.layers import LAYERS, Named

LAYOUTS = {  # for each format, its names of the layers, in the order of LAYERS
    "dag": LAYERS,  # https://www.robots.ox.ac.uk/~albanie/pytorch-models.html
    "pyvggface": [  # https://github.com/chi0tzp/PyVGGFace
        f"{'fc' if name.startswith('fc') else 'features'}.{name.replace('conv', 'conv_')}"
        for name in LAYERS
    ],
    "torchvision": [
        *(f"features.{i}" for i in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)),
        *(f"classifier.{i}" for i in (0, 3, 6)),
    ],
}


def layout(names: Iterable[str]) -> str:
    """Return the format that has the most of these names."""
    layers = {_split(name)[0] for name in names}
    return max(LAYOUTS, key=lambda format_: len(layers.intersection(LAYOUTS[format_])))


def renamed(state: Mapping[str, Tensor], format_: str) -> Named:
    """Yield tensors under the names in LAYERS; unknown ones keep their names."""
    ours = dict(zip(LAYOUTS[format_], LAYERS, strict=True))
    for name, tensor in state.items():
        layer, kind = _split(name)
        yield f"{ours.get(layer, layer)}.{kind}", tensor


def _split(name: str) -> tuple[str, str]:
    layer, _, kind = str(name).rpartition(".")
    return layer, kind
