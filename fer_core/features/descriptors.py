"""Describe faces by dlib's face recognition network, to see which may be of one person.

King 2017, http://dlib.net/dnn_face_recognition_ex.cpp.html: two photographs of one person are
nearer than 0.6 to each other, which held for 99.38 % of the pairs of LFW. Faces are aligned and
sized as dlib does it. The checkup of a dataset uses this; models that are searched do not.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from fer_core.arrays import Image
from fer_core.config import StreamConfig
from fer_core.faces.views import resized
from fer_core.models import backbones
from fer_core.models.backbones import dlib_resnet
from fer_core.weight_files import packaged

SAME_PERSON = 0.6  # King 2017: the largest distance at which dlib takes two faces for one person
SIZE = 128  # values of a descriptor
BATCH = 32  # faces at once
_BLOCKS = 6  # the whole network but for its last layer


class Describer:
    """The network with dlib's own weights, on a device; loading it takes a second."""

    def __init__(self, device: torch.device) -> None:
        stream = StreamConfig(
            backbone="dlib_resnet", weights="package", blocks=_BLOCKS, freeze_depth=_BLOCKS
        )
        backbone = backbones.build(stream, weights_file=None, seed=0)
        self._layers = torch.nn.Sequential(backbone.preprocess, *backbone.blocks).to(device).eval()
        last = dlib_resnet.read_tensors(packaged(dlib_resnet.FILE))["fc_2"][0]
        self._last = torch.from_numpy(last.reshape(-1, SIZE)).to(device)
        self._crop_pixels, self._device = backbone.crop_pixels, device

    def __call__(self, faces: Image) -> NDArray[np.float32]:
        """Describe aligned faces (B, 224, 224, 3) as (B, SIZE) numbers."""
        pixels = torch.from_numpy(resized(faces, self._crop_pixels)).to(self._device)
        with torch.inference_mode():
            maps = self._layers(pixels.permute(0, 3, 1, 2).float())
            descriptors: NDArray[np.float32] = (maps.mean(dim=(2, 3)) @ self._last).cpu().numpy()
        return descriptors
