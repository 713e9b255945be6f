"""Names for the arrays that pass between modules, so that a signature says what an array holds.

Every room uses these aliases. They are the same to NumPy and to a type checker; shapes, which types
cannot say, are in the docstring of the function that takes or gives the array.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
"""An array of any type and shape, for example the result of a stage."""

Image = NDArray[np.uint8]
"""Pixels as RGB, 0 to 255, row by row: (H, W, 3), or (frames, H, W, 3)."""

Points = NDArray[np.floating]
"""Points of a face in pixels, x before y: the 68 landmarks (68, 2), or (frames, 68, 2).

The landmarks are in the order of iBUG 300-W (https://ibug.doc.ic.ac.uk/resources/300-W/), as in
dlib: jaw, brows, nose, eyes, mouth. On disk they are float32. A function that takes or gives fewer
points says so.
"""
