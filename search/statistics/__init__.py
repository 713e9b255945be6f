"""Statistics of scores: whether one model is better than another, and how surely.

The modules here take arrays and know no files. The leaderboard and `search.compare` use them.
"""
