"""Use a trained model on a new video: read the emotion of the face in it, over time.

In come a model folder, which `python -m search.replay STUDY/TRIAL --export FOLDER` writes, and a
video. Out come the probabilities of each class for the whole video and at each moment, as text or
JSON, and a picture of them. Nothing else in `fer_core` uses this room: users run
`python -m fer_core.predict FOLDER VIDEO`, and `search.replay` writes model folders with it.

The modules act in this order: `model_folder` writes a trained model and reads it again, `on_video`
follows the face and scores the video, `prediction` holds the result and prints it, and `timeline`
draws it.
"""
