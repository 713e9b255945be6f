"""State dicts of VGG-16: Albanie's, PyVGGFace's and torchvision's differ in their layers' names."""

from collections.abc import Iterable, Mapping

from torch import Tensor

from fer_core.models.vgg_face.layers import LAYERS, Named

LAYOUTS = {  # format: its names for LAYERS
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
    """Tell the format by where most names are from."""
    layers = {_split(name)[0] for name in names}
    return max(LAYOUTS, key=lambda format_: len(layers.intersection(LAYOUTS[format_])))


def renamed(state: Mapping[str, Tensor], format_: str) -> Named:
    """Give the format's layers the names in LAYERS, and leave others theirs."""
    ours = dict(zip(LAYOUTS[format_], LAYERS, strict=True))
    for name, tensor in state.items():
        layer, kind = _split(name)
        yield f"{ours.get(layer, layer)}.{kind}", tensor


def _split(name: str) -> tuple[str, str]:
    layer, _, kind = str(name).rpartition(".")
    return layer, kind
