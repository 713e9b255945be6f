"""Write durations for people. The progress line, the plan and the predictor all use one wording."""


def readable(seconds: float) -> str:
    """Write a duration in the largest unit that suits it."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
