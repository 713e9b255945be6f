"""What an error says of the machine: that memory was short, or that its device is broken. No torch.

torch is imported by workers only, so its errors are known by their names and texts.
"""

from collections.abc import Iterator

_SHORT = (
    "CUDA out of memory",
    "CUDA error: out of memory",  # of a context, or a library that starts
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_NOT_INITIALIZED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
)


def is_short(error: BaseException) -> bool:
    """Whether an error, or what it was raised from, is that memory was short."""
    return any(
        isinstance(cause, MemoryError)
        or "OutOfMemoryError" in _names(cause)
        or (isinstance(cause, RuntimeError) and any(text in str(cause) for text in _SHORT))
        for cause in _causes(error)
    )


def is_device(error: BaseException) -> bool:
    """Whether the device failed: nothing more can be computed on it in this process."""
    return not is_short(error) and any(
        "AcceleratorError" in _names(cause)
        or (isinstance(cause, RuntimeError) and str(cause).startswith("CUDA error"))
        for cause in _causes(error)
    )


def _names(error: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
