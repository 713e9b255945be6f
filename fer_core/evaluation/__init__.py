"""Turn scores into votes, metrics and intervals."""
