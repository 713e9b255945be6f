"""Recognise errors that blame the machine: it ran out of memory, or its device is broken.

A trial that ran out of memory is tried again on a larger share of a machine; after a device error
its worker must end. The workers and the sealed test ask this module. Only workers import torch, so
this module does not; it knows torch's errors by their names and texts.
"""

import re
from collections.abc import Iterator

# Each is a regular expression. torch's allocators say it in words; the libraries of a GPU, which
# allocate on their own, often name another reason (pytorch#108645). A trial that is taken wrongly
# for one that lacked memory costs one more try.
_OUT_OF_MEMORY = re.compile(
    "|".join(
        (
            "CUDA out of memory",
            "CUDA error: out of memory",  # while a context or a library starts
            "DefaultCPUAllocator: (can't allocate|not enough) memory",
            "CUBLAS_STATUS_(ALLOC_FAILED|NOT_INITIALIZED)",
            "CUDNN_STATUS_(ALLOC_FAILED|NOT_INITIALIZED|INTERNAL_ERROR)",
            "unable to find an engine to execute this computation",  # cuDNN's, for its workspace
            "Unable to find a valid cuDNN algorithm",
            "CUSOLVER_STATUS_(ALLOC_FAILED|NOT_INITIALIZED)",
            "CUSOLVER_STATUS_INTERNAL_ERROR.*cusolverDnCreate",
            "CUSPARSE_STATUS_(ALLOC_FAILED|INSUFFICIENT_RESOURCES)",
            "CUFFT_ALLOC_FAILED",
            "NVML_SUCCESS == r INTERNAL ASSERT",  # the allocator asks for the reason, in vain
        )
    )
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error, or an error that caused it, means that memory ran out."""
    return any(
        isinstance(cause, MemoryError)
        or "OutOfMemoryError" in _names(cause)
        or (isinstance(cause, RuntimeError) and _OUT_OF_MEMORY.search(str(cause)) is not None)
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
