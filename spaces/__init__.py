"""Spaces: one file for each question that a study can answer.

A space is a function `space(trial) -> Config`, which draws what is searched from an Optuna trial
and fixes the rest. The docstring of each file says the question, what is fixed, what is searched,
and what a trial costs. `python -m search.run --space spaces/NAME.py` runs one.
"""
