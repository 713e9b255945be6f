"""What a study found: the leaderboard, its order, and how it is shown."""
