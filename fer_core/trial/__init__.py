"""One trial: a config, or a pack of configs, and a study's data in; scores and models out.

`evaluate.py` is the door: it scores a config by cross-validation, tests it on the sealed subjects,
or refits it as a model. `pack.py` trains several configs together and stops at rungs, where the
search may prune them. The other files prepare a trial's data, decide what may train together, check
that a config is feasible, and time it. The search's cluster and planning rooms use this room, and
`predict/` takes its fitted models.
"""
