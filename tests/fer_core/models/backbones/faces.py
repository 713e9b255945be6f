"""Aligned crops of the rendered people, to which the tests of scae and cdbn fit their blocks."""

import functools
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from fer_core.data.datasets import load
from fer_core.faces import video
from fer_core.faces.views import aligned, resized

EVERY = 3  # every third frame of a clip is read
APEX = 0.8  # share of a clip after which its expression is clearly visible


@dataclass(frozen=True)
class Faces:
    pixels: torch.Tensor  # (N, 3, H, W), 0..255
    emotions: np.ndarray
    subjects: np.ndarray
    shares: np.ndarray  # position of the frame in its clip, from 0 to 1

    def __getitem__(self, rows):
        columns = (self.pixels, self.emotions, self.subjects, self.shares)
        return Faces(*(values[rows] for values in columns))

    def of(self, *subjects):
        return self[np.flatnonzero(np.isin(self.subjects, [str(s) for s in subjects]))]

    def apexes(self):
        return self[np.flatnonzero(self.shares >= APEX)]


def faces(root, crop_pixels):
    pixels, emotions, subjects, shares = _read(root)
    pixels = functional.interpolate(pixels, size=(crop_pixels, crop_pixels), mode="area")
    return Faces(pixels, emotions, subjects, shares)


@functools.cache
def _read(root):
    crops, labels = [], []
    for clip in load("synthetic", root).clips:
        points = np.load(clip.landmarks)
        for i, frame in enumerate(video.frames(clip.path)):
            if i % EVERY == 0:
                crops.append(aligned(frame, points[i]))
                labels.append((clip.emotion, clip.subject, i / (len(points) - 1)))
    emotions, subjects, shares = map(np.array, zip(*labels, strict=True))
    pixels = torch.from_numpy(resized(np.stack(crops), 96)).permute(0, 3, 1, 2).float()
    return pixels, emotions, subjects, shares
