"""Words for people: a number with the name of what it counts."""


def counted(count: int, name: str) -> str:
    """Join a number and a name, which gets an s where there is not exactly one."""
    return f"{count} {name}" if count == 1 else f"{count} {name}s"
