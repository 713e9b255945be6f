"""What a competent user of Ray Tune and torch would write; it imports nothing of ours."""
