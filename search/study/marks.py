"""What is noted of a trial in Optuna's journal, as its attributes.

The words are in users' studies: keep them. `journal.py` notes them, and
`search/request/rebuild.py` makes them anew where a journal was lost.
"""

from optuna.trial import FrozenTrial, TrialState

from search.drawing import redraws

STUDY = "study"  # what the study is called in its own journal
STATES = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}
CONFIG = "config_json"  # the config that the space made of the parameters
SEED_OFFSET = "seed_offset"  # how far above the study's seed it trains; without it, 0
STARTED = "started"  # present once a worker was given the trial
REPEATS = "repeats"  # number of the interrupted trial that this trial repeats
RETRY = "retry"  # how often these parameters were interrupted before
LOST = "lost"  # how often these parameters lost their machine before
LARGER = "larger"  # present if these parameters ran out of memory once
INTERRUPTED = "interrupted"  # present if the trial does not count, because another repeats it
REDRAWN = redraws.MARK  # present if the draw is no trial; why not, "refused" or "repeated"
FIXED = "fixed_params"  # Optuna's own attribute: the parameters with which a trial was queued


def has_ended(trial: FrozenTrial) -> bool:
    """Return whether a trial ended and counts: no other repeats it, and it was not redrawn."""
    replaced = {INTERRUPTED, REDRAWN} & trial.user_attrs.keys()
    return trial.state.is_finished() and not replaced
