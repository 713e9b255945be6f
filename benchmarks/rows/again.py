"""Row 6: a second search over the same data, against the first, which finds only the images."""

import tempfile
from pathlib import Path

from benchmarks.rows import engine, stills
from benchmarks.rows.images import Size
from benchmarks.rows.result import Ratio
from benchmarks.rows.timing import wall_seconds
from fer_core.data.study_data import StudyData
from search.cluster import connection
from search.request import find_faces

# As many frames as OULU-CASIA has in three of each sequence, at VGG-16's own size.
SIZE = Size(pixels=224, configs=16, images=1440, epochs=10)


def row(size: Size = SIZE) -> list[Ratio]:
    """Search twice, from the faces on, which dlib finds; and count what the second computed."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        study_data = stills.study_data(size.images, root / "store", landmarks="dlib")
        runs: list[engine.Ran] = []
        with connection.connected("local"):
            first, second = (
                wall_seconds(lambda at=at: runs.append(_search(size, study_data, root / at)))
                for at in ("first", "second")
            )
    counts = {name: int(runs[1].work(name)) for name in ("backbone_images", "frames_decoded")}
    assert not any(counts.values()), f"the second search computed again: {counts}"
    assert runs[0].work("backbone_images") >= size.images
    starts = [ran.ends[0] for ran in runs]
    return [
        Ratio(
            name="second search",
            value=first / second,
            target=10,
            came_from=f"first {first:.1f} s, second {second:.1f} s by the clock, {size.images} "
            f"images at {size.pixels} px, {size.configs} trials",
            notes=(
                "asserted of the second: 0 backbone_images, 0 frames_decoded",
                "workers start in both, ray.init is in neither; the first trial ended after "
                f"{starts[0]:.1f} s of the first study, {starts[1]:.1f} s of the second",
            ),
        )
    ]


def _search(size: Size, study_data: StudyData, root: Path) -> engine.Ran:
    """Find the faces that are missing, as a session does, and search."""
    find_faces.faces(
        study_data.manifest,
        engine=study_data.landmarks,
        store=study_data.store,
        workers=stills.CORES,
        progress=lambda done, shards: None,
    )
    return engine.study(size.space, study_data, root, trials=size.configs)
