"""What a study found: its leaderboard file, the order of the rows, and how they are shown.

Results of trials come in, from `search/study/parts.py`; Parquet files, tables for the terminal and
model cards go out. `search/session/` writes the board, `search/run.py` prints it, and
`search/replay.py` writes the card of an exported model.
"""
