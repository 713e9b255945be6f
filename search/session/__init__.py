"""Run a study from its settings to its leaderboard.

`search.run` calls `session.run`, which loads the data and runs the search: `one_search.py`. A
nested study runs more of them, one inside each fold: `nested.py`.
"""
