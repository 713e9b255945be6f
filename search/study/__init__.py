"""The study: its folder, its journal of trials, and the searcher that draws new trials.

A study is one search: a space, a dataset, a number of trials, and all that came out of them. This
room knows which trials a study has, how each of them ended, and which are still to come. It imports
Ray Tune's interfaces, but neither torch nor the workers; `search/cluster/` runs what it hands out,
and `search/session/` puts both together.

A trial goes through these files, in this order:

1. Ask. `journal.py` asks Optuna for a trial. `search/drawing/` chooses the values of the parameters
   and lets the space, the user's file, make a config of them.
2. Queue. `searcher.py` puts the trial into `queue.py`, which gathers trials that can train together
   into a pack. Ray Tune asks the searcher for the next pack whenever a worker is free.
3. Prune. A worker reports all members of its pack at each rung. `pruning.py` passes the report on
   to the searcher, and `halving.py` decides which members stop there.
4. Write. The worker writes the result of each trial (`parts.py`) as a file of its own into the
   folder `parts/` of the study (`folder.py`).
5. Tell. The searcher reads the result and tells Optuna, through the journal, how the trial ended.

One process at a time, the *driver*, works on a study: a lock in a folder, a claim in S3
(`driver_claim.py`). The journal (`journal.py`, kept by `journal_backends.py`) and the results
outlive the driver, so a killed study resumes without losing a finished trial. A full disk
(`disk.py`) stops the study and fails no trial.
"""
