"""Surface files as a user may have them."""

import numpy as np

from fer_core.faces.frontal import mean_face
from fer_core.faces.frontal.surface import reference


def written_obj(folder):
    """Write our own surface as a mesh whose last 68 vertices are the landmarks."""
    points = reference().points[reference().mask][::7]
    marks = mean_face.landmarks()[:, :2]
    marks = np.column_stack([marks, mean_face.height(marks)])  # lids and lips are above it
    lines = [f"v {x} {-y} {z}" for x, y, z in [*points, *marks]]
    path = folder / "face.obj"
    path.write_text("\n".join(["g face", *lines, "vn 0 0 1", "f 1 2 3"]))
    np.savetxt(path.with_suffix(".landmarks.txt"), np.arange(68) + len(points), fmt="%d")
    return path
