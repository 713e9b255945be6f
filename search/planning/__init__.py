"""What a study would compute, store and take, known before it starts.

A space and the user's settings come in; a `Plan` goes out, which `--dry-run` prints and then ends.
`plan.py` counts what trials share, and asks the other files: `costs.py` decides what is stored and
prices it on this machine, `duration.py` predicts the time to the end, and `face_seconds.py`
predicts how long finding all faces takes. `first_draws.py` serves a real start: it looks at the
first configs of a study to load their models and to know what trials will share. The commands and
the checkup use this room; nothing here starts Ray.
"""
