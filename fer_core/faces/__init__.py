"""From pixels to views: find the face in every frame of a clip, follow it, and crop it.

In come the clips of a manifest (`fer_core.data`): videos, images, folders of images, or rows of a
table of pixels. Out come two stages in the store (`fer_core.storage`): `faces`, with the 68
landmarks of each frame and the face cut out of it, and `views`, with the square crops that a
backbone reads. `features`, `trial` and `predict` read both; the commands in `search` make them
ahead of the trials, check the files, and show the crops to the user.

The modules act in this order:

1. `file_checks` reads what a file says of itself; `pictures` decodes images, and `video` all clips.
2. `landmarks` finds faces and their 68 points; `follow` keeps to one face over a clip and cuts it
   out; `tracks` is the format in which both are stored; `faces_stage` runs these for a dataset.
3. `sampling` picks the frames that a model reads; `align` and `views` turn a face into a crop, and
   `frontal` shows it from the front; `views_stage` runs these for a dataset.
4. `point_encodings` turns the 68 points themselves into the input of a network.
"""
