"""What a trained model can see of one clip: the face that was followed in it, and whole pictures.

`on_video` makes a `ClipViews` for a new video, and `on_dataset` one for each clip of a dataset.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fer_core.arrays import Array, Image
from fer_core.config import GIVEN, Config, GeometryConfig
from fer_core.errors import DataError
from fer_core.faces import views_stage
from fer_core.faces.sampling import Indices, pick, without_points
from fer_core.faces.tracks import Track
from fer_core.trial.fitted_model import Model


@dataclass(frozen=True, kw_only=True)
class ClipViews:
    """The frames of one clip, as the views of a model show them.

    One of `face` and `pictures` is there at least.
    """

    face: Track | None  # None: no landmarks were found, or no stream needs any
    pictures: Track | None  # each frame as a whole; None: no stream shows it
    cuts_given: bool = False  # show the view `given` as a crop around the face that was found

    @property
    def main(self) -> Track:
        """The track that says which frames can be scored."""
        track = self.pictures if self.face is None else self.face
        assert track is not None
        return track

    @property
    def usable(self) -> NDArray[np.bool_]:
        """Whether each frame (T,) can be scored."""
        return self.main.usable

    def picked(self, model: Model) -> list[Indices]:
        """Pick the frames that each stream of a model reads of the clip, as a trial picks them."""
        views = (getattr(stream, "view", None) for stream in model.config.streams)
        tracks = (self.main if view is None else self._shown_by(view)[0] for view in views)
        without = without_points(model.clip)
        return [
            pick(track.points, track.usable, model.clip if track is self.face else without)
            for track in tracks
        ]

    def points(self) -> Track:
        """Give the track of the landmarks.

        Raises: DataError if there are none.
        """
        if self.face is None:
            raise DataError("no face found, and the model reads its landmarks.")
        return self.face

    def shown(self, frames: Array | Sequence[int], view: str, model: Model) -> Image:
        """Show some frames in a view, (n, 224, 224, 3); without landmarks, as whole pictures.

        Raises: DataError if the points of a frame fit no face.
        """
        track, view = self._shown_by(view)
        indices = np.asarray(frames, np.intp)
        return views_stage.views_of_frames(track, indices, view, surface=model.surface)

    def _shown_by(self, view: str) -> tuple[Track, str]:
        """Give the track that shows a view, and the view that it shows."""
        track = self.face
        if view == GIVEN and self.cuts_given:
            view = "crop"
        elif view == GIVEN or track is None:
            track, view = self.pictures, GIVEN
        assert track is not None
        return track, view


def reads_pictures(config: Config, missing: str) -> bool:
    """Say whether a model may show whole pictures."""
    return missing == "fallback" or any(stream.view == GIVEN for stream in config.images)


def needs_landmarks(config: Config, missing: str) -> bool:
    """Say whether a model cannot score a clip without landmarks."""
    points = any(isinstance(stream, GeometryConfig) for stream in config.streams)
    return points or (missing != "fallback" and config.reads_landmarks)
