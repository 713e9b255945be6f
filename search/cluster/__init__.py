"""The Ray cluster: connect to it, run packs of trials on its workers, and survive lost machines.

In comes a searcher, which hands out packs (`search/study/`), and a study's data; out come the parts
of the trials, which the workers write into the study's folder. `search/session/` is the only user
of this room. On a laptop the same code runs on a Ray of its own.

The *driver* is the process that the user started. Its side: `connection.py` finds and joins the
cluster, `reachability.py` checks that all machines see the study's files, `tuner.py` divides the
cluster among trials and runs Ray Tune, `watch.py` and `nodes.py` watch for machines that join, fail
or are lost. `baseline_tasks.py` runs the baselines. At the end `headlines.py` chooses the trial
whose test score is shown, and `sealed_test.py` tests the winners.

The workers' side: `worker.py` trains one pack after another, `trial_record.py` writes what came out
of each trial, `memory_errors.py` tells a lack of memory from other errors. One worker computes each
stage and shares it: `leases.py` decides which. Every machine caches what it downloads, and
recomputes a stage when it has measured that to be faster than downloading it (this part is in
`fer_core/storage/`). `runtime_env.py` and `ray_settings.py` hold what Ray must know before it
starts.
"""
