"""Where trials run: Ray Tune's workers, and what they say while they run."""
