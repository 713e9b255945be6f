"""Facial expression recognition (FER): from a dataset's files to the scores of a trained model.

This package knows nothing about searching, Ray or Optuna; `search` builds on it. Its rooms are
folders in the order in which data flow: `config` and `storage`, `data`, `faces`, `models`,
`synthetic`, `features`, `training`, `trial` and `predict`. A room imports from earlier ones only.
"""

import os

# OpenCV reads this when it is imported. Without it, a small damaged file that declares huge sides
# takes minutes and gigabytes. It is Pillow's own limit, 2 * PIL.Image.MAX_IMAGE_PIXELS.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", "178956970")
