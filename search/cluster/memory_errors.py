"""Recognise errors that blame the machine: it ran out of memory, or its device is broken.

A trial that ran out of memory is tried again on a larger share of a machine; after a device error
its worker must end. The workers and the sealed test ask this module. Only workers import torch, so
this module does not; it knows torch's errors by their names and texts.
"""

from collections.abc import Iterator

_OUT_OF_MEMORY = (
    "CUDA out of memory",
    "CUDA error: out of memory",  # while a context or a library starts
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_NOT_INITIALIZED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error, or an error that caused it, means that memory ran out."""
    return any(
        isinstance(cause, MemoryError)
        or "OutOfMemoryError" in _names(cause)
        or (isinstance(cause, RuntimeError) and any(text in str(cause) for text in _OUT_OF_MEMORY))
        for cause in _causes(error)
    )


def is_device_failure(error: BaseException) -> bool:
    """Return whether the device failed, so that this process can compute nothing more on it."""
    return not is_out_of_memory(error) and any(
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
