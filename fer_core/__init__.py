"""Facial expression recognition (FER): from a dataset's files to the scores of a trained model.

This package knows nothing about searching, Ray or Optuna; `search` builds on it. Its rooms are
folders in the order in which data flow: `config` and `storage`, `data`, `faces`, `models`,
`synthetic`, `features`, `training`, `trial` and `predict`. A room imports from earlier ones only.
"""
