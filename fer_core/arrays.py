"""Names for the arrays that pass between files.

Every room uses these aliases, so that a signature says what an array holds.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
"""Any array; the function that takes or gives it says its shape."""

Image = NDArray[np.uint8]
"""Pixels as RGB, 0 to 255: (H, W, 3), or with leading axes for frames and clips."""

Points = NDArray[np.floating]
"""Landmarks in pixels, x before y: (68, 2), or with a leading axis for frames."""
