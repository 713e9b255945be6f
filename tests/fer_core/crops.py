"""A table of face crops in the layout of FER2013, rendered for the tests."""

import numpy as np

from benchmarks.small_faces import made

CODES = {  # of FER2013; the renderer's contempt has none
    "anger": 0,
    "disgust": 1,
    "fear": 2,
    "happiness": 3,
    "sadness": 4,
    "surprise": 5,
    "neutral": 6,
}
USAGES = ("Training", "Training", "Training", "PublicTest", "PrivateTest")
BLANK = 1  # the row of a picture that shows nothing


def write_table(path, count):
    """Write a table of about `count` crops of 48 pixels; the picture in row BLANK is grey."""
    lines = ["emotion,pixels,Usage"]
    for crop in made(count):
        if crop.emotion in CODES:
            row = len(lines) - 1
            grey = np.full((48, 48), 128) if row == BLANK else crop.image[..., 0]
            pixels = " ".join(map(str, grey.ravel()))
            lines.append(f"{CODES[crop.emotion]},{pixels},{USAGES[row % len(USAGES)]}")
    path.write_text("\n".join(lines) + "\n")
