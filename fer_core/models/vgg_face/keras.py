"""Read rcmalli_vggface_tf_vgg16.h5 and ..._notop_vgg16.h5: Keras's files, with a group a layer.

They are from https://github.com/rcmalli/keras-vggface. The names of a group's datasets, and the
groups around it, depend on the version of Keras. The name of the layer and the number of axes do
not, so the reader goes by these.
"""

from pathlib import Path

import h5py

from fer_core.arrays import Array
from fer_core.models.vgg_face.layers import LAYERS, Named, from_hwio, tensor

MAP_SIDE = 7  # side of the map that fc6 reads: 224 pixels, halved five times


def read(path: Path) -> Named:
    """Read all datasets."""
    names: list[str] = []
    with h5py.File(path, "r") as file:
        file.visititems(
            lambda name, node: names.append(name) if isinstance(node, h5py.Dataset) else None
        )
        for name in names:
            dataset = file[name]
            if dataset.nbytes > path.stat().st_size:
                raise ValueError(f"{name} claims {dataset.nbytes} bytes, more than the file has")
            layer = next((part for part in name.split("/") if part in LAYERS), name)
            kind = "bias" if dataset.ndim == 1 else "weight"
            yield f"{layer}.{kind}", tensor(_turned(layer, dataset[()]))


def _turned(layer: str, array: Array) -> Array:
    """Turn the axes of a weight from Keras's order to torch's."""
    if layer == "fc6" and array.ndim == 2 and len(array) % MAP_SIDE**2 == 0:  # it reads (H, W, C)
        array = array.reshape(MAP_SIDE, MAP_SIDE, -1, array.shape[1])
    return from_hwio(layer, array) if array.ndim == 4 else array.T
