"""How times are told to people."""


def readable(seconds: float) -> str:
    """Say a time in its largest fitting unit."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
