"""The rows of `benchmarks/search.py`: what each measures, on ours and on a baseline."""
