"""The rows of `benchmarks/search.py`, one module for each or for a few that share a measurement.

Each row compares our code with a baseline, or with a limit, and returns ratios (`result.py`).
Beside the rows there are what they share: the engine as a session runs it (`engine.py`), rendered
photographs (`stills.py`), the files that baselines read (`plain.py`) and clocks (`timing.py`).
"""
