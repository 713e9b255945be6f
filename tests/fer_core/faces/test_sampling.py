import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_core.config import SAMPLINGS, ClipConfig
from fer_core.faces.frontal import mean_face
from fer_core.faces.sampling import onset_and_apex, pick

WHOLE = ClipConfig(start=0.0, end=1.0, frames=3)

configs = st.builds(
    lambda ends, **kwargs: ClipConfig(start=min(ends), end=max(ends), **kwargs),
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
    frames=st.integers(1, 64),
    sampling=st.sampled_from(SAMPLINGS),
    stride=st.integers(1, 20),
)


def still(total):
    """Points of a face that does not move."""
    return np.repeat(mean_face.landmarks()[None, :, :2], total, axis=0)


def opening(total, *, onset, apex):
    """Points of a face whose lower lip and chin go down from one frame to another and stay."""
    points = still(total).copy()
    course = np.clip((np.arange(total) - onset) / (apex - onset), 0, 1)
    points[:, [*range(5, 12), *range(55, 60)], 1] += 0.3 * course[:, None]
    return points


def picked(total, clip, usable=None):
    everything = np.ones(total, bool)
    return pick(still(total), everything if usable is None else usable, clip).tolist()


@given(total=st.integers(1, 500), clip=configs, data=st.data())
def test_as_many_usable_frames_as_asked_are_picked_and_never_backwards(total, clip, data):
    usable = np.array(data.draw(st.lists(st.booleans(), min_size=total, max_size=total)))
    usable[data.draw(st.integers(0, total - 1))] = True

    indices = pick(still(total), usable, clip)

    assert len(indices) == clip.frames
    assert usable[indices].all()
    assert (np.diff(indices) >= 0).all()


@given(total=st.integers(1, 1000), frames=st.integers(2, 64))
def test_a_whole_window_holds_the_first_and_the_last_frame(total, frames):
    indices = picked(total, ClipConfig(start=0.0, end=1.0, frames=frames))

    assert (indices[0], indices[-1]) == (0, total - 1)


@pytest.mark.parametrize(
    ("clip", "expected"),
    [
        (ClipConfig(start=0.5, end=0.8, frames=1), [65]),
        (ClipConfig(start=0.5, end=0.8, frames=3), [50, 65, 80]),
        (ClipConfig(frames=3, sampling="last"), [98, 99, 100]),
        (ClipConfig(frames=3, sampling="last", stride=10), [80, 90, 100]),
        (ClipConfig(frames=3, sampling="middle"), [49, 50, 51]),
        (ClipConfig(frames=3, sampling="middle", stride=5), [45, 50, 55]),
        (ClipConfig(frames=4, sampling="uniform"), [12, 37, 63, 88]),
        (ClipConfig(start=0.2, frames=3, sampling="stride", stride=15), [20, 35, 50]),
        (ClipConfig(start=0.95, frames=3, sampling="stride", stride=3), [95, 98, 100]),
    ],
    ids=lambda value: value.sampling if isinstance(value, ClipConfig) else "",
)
def test_each_sampling_picks_its_frames_of_101(clip, expected):
    assert picked(101, clip) == expected


def test_a_clip_shorter_than_its_window_repeats_frames():
    assert picked(2, WHOLE) == [0, 1, 1]


def test_a_frame_without_a_face_gives_its_place_to_the_nearest_one_with_a_face():
    usable = np.ones(101, bool)
    usable[47:53] = False
    usable[98:] = False

    assert picked(101, WHOLE, usable) == [0, 53, 97]


def test_onset_and_apex_are_where_the_face_begins_to_change_and_where_it_has_changed():
    onset, apex = onset_and_apex(opening(60, onset=20, apex=40))

    assert onset == pytest.approx(22, abs=2)
    assert apex == pytest.approx(41, abs=2)


def test_a_head_that_tilts_and_nears_does_not_move_the_onset():
    points = opening(60, onset=20, apex=40)
    angle = np.linspace(0, 0.6, 60)[:, None]
    plane = points @ (1, 1j) * np.exp(1j * angle) * np.linspace(1, 1.5, 60)[:, None]
    moved = np.stack([plane.real, plane.imag], axis=-1) + np.linspace(0, 5, 60)[:, None, None]

    assert onset_and_apex(moved) == onset_and_apex(points)


def test_onset_to_apex_leaves_the_neutral_frames_and_the_hold_out():
    points = opening(60, onset=20, apex=40)
    clip = ClipConfig(frames=5, sampling="onset_apex")

    indices = pick(points, np.ones(60, bool), clip)

    assert indices[0] >= 20
    assert indices[-1] <= 43
    assert len(set(indices.tolist())) == 5


def test_one_frame_from_onset_to_apex_is_the_apex():
    points, everything = opening(60, onset=20, apex=40), np.ones(60, bool)

    alone, *_, last = (
        pick(points, everything, ClipConfig(frames=frames, sampling="onset_apex"))[-1]
        for frames in (1, 2, 5)
    )

    assert alone == last == onset_and_apex(points)[1]


@pytest.mark.parametrize("total", [1, 2, 30])
def test_a_face_that_never_moves_has_an_onset_and_an_apex_all_the_same(total):
    onset, apex = onset_and_apex(still(total))

    assert 0 <= onset <= apex < total


def test_frames_that_are_left_out_do_not_make_the_movement_unknown():
    points = opening(60, onset=20, apex=40)
    usable = np.ones(60, bool)
    usable[[0, 1, 30, 59]] = False
    points[~usable] = np.nan
    clip = ClipConfig(frames=5, sampling="onset_apex")

    indices = pick(points, usable, clip)

    assert usable[indices].all()
    assert 20 <= indices[0] < indices[-1] <= 44
