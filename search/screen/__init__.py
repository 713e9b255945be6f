"""What the user sees while a study runs: progress, time to the end, nodes that come and go.

Results of trials and states of the cluster come in; lines and a live screen on stderr go out. All
rooms above report here, and `search/run.py` opens the screen.
"""
