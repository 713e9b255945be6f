"""Environment variables that Ray reads when it is imported or started.

Import this module before `ray`; a variable that the user has set keeps its value. `connection.py`
and `tuner.py` import it first of all.
"""

import os

SETTINGS = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    # If Ray knew in advance that a node would be taken away, Tune would repeat its trials itself,
    # from the start.
    "RAY_TRAIN_COUNT_PREEMPTION_AS_FAILURE": "1",
    "RAY_USAGE_STATS_ENABLED": "0",  # send no usage reports
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # write no files for each trial
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # we handle Ctrl-C ourselves
    # Tune's snapshots of its own state are of no use to us: the journal is the state.
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}
for _name, _value in SETTINGS.items():
    os.environ.setdefault(_name, _value)
