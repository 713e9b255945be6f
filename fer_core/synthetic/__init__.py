"""The renderer of the synthetic dataset: videos of drawn faces that show emotions.

Nobody needs real data to try a search, and the tests need faces whose landmarks are known exactly.
In come a layout, a number of people and a seed; out comes a folder of clips with landmarks, in the
layout of a real dataset, which `fer_core.data.datasets.synthetic` reads. `search.run` renders the
folder on first use, and `python -m fer_core.synthetic --out FOLDER` renders one by hand.

The modules act in this order for each clip: `script` decides everything that happens, with
`identity` (who is filmed), `action_units` (what an emotion moves), `dynamics` (when it moves) and
`camera` (pose and light). `painter` then paints each frame, with `skin`, `face_parts` and
`strokes`. `writing` writes the frames and landmarks to files, and `dataset` does so for all people.
"""
