"""Drawing: how the configs of a study are chosen, before any of them is trained.

`space.py` loads the user's space file, which makes a config of drawn parameters, and `sampling.py`
is the sampler that draws them. `suited.py` suits a space to a study's data: what cannot matter with
them is left out of a config, and what cannot work with them is refused. `draws.py` decides what
each draw of a study tries, and finds a config that the study has already; `families.py` gives each
family of models its trials. `search/study/journal.py` asks this room for each new trial, and the
plan and the start of a study ask it which configs to expect.
"""
