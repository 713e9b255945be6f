"""Row 6: a second search over the same data, against the first.

The first search starts with nothing but images; the second one finds all stages in the store.
"""

import tempfile
from pathlib import Path

from benchmarks.rows import engine, stills
from benchmarks.rows.images import Size
from benchmarks.rows.result import Ratio
from benchmarks.rows.timing import wall_seconds
from fer_core.data.study_data import StudyData
from search.cluster import connection
from search.request import find_faces

# Three frames of each sequence of OULU-CASIA, at the size that VGG-16 reads.
SIZE = Size(pixels=224, configs=16, images=1440, epochs=10)


def row(size: Size = SIZE) -> list[Ratio]:
    """Search twice, dlib's search for faces included; check that the second computes nothing."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        study_data = stills.study_data(size.images, root / "store", landmarks="dlib")
        studies: list[engine.EndedStudy] = []
        with connection.connected("local"):
            first, second = (
                wall_seconds(
                    lambda name=name: studies.append(_search(size, study_data, root / name))
                )
                for name in ("first", "second")
            )
    counts = {name: int(studies[1].work(name)) for name in ("backbone_images", "frames_decoded")}
    assert not any(counts.values()), f"the second search computed again: {counts}"
    assert studies[0].work("backbone_images") >= size.images
    first_ends = [study.ends[0] for study in studies]
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
                f"{first_ends[0]:.1f} s of the first study, {first_ends[1]:.1f} s of the second",
            ),
        )
    ]


def _search(size: Size, study_data: StudyData, root: Path) -> engine.EndedStudy:
    """Find the faces that the store lacks, as a session does, then search."""
    find_faces.faces(
        study_data.manifest,
        engine=study_data.landmarks,
        store=study_data.store,
        workers=stills.CORES,
        progress=lambda done, shards: None,
    )
    return engine.run_study(size.space, study_data, root, trials=size.configs)
