"""A make-believe CUDA device: tensors that say `cuda:0`, hold real values, and may not be mixed.

`pretend_cuda` makes this process believe that it has a GPU. A tensor on it is a `Pretend`, which
holds the values in a CPU tensor. Where a CPU tensor meets a `Pretend`, an operation is refused as
CUDA refuses it. Every copy and every wait for the device is counted with the line that asked for
it. Unlike torch's fake tensors, these have values, so code that goes to NumPy and back runs as it
is. What it cannot show: numerics, memory, speed, and kernels that CUDA lacks.
"""

import traceback
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

CUDA, CPU = torch.device("cuda:0"), torch.device("cpu")
_CUDA_ERROR = (
    "{}: Expected all tensors to be on the same device, but found at least two devices, cuda:0 and "
    "cpu! Shapes on the cpu: {}"
)
_ON_CPU = "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first"
# Operations whose lengths CUDA wants on the CPU, and those that take an index from there.
_LENGTHS = {"_pack_padded_sequence", "_pad_packed_sequence", "_pack_padded_sequence_backward"}
_INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}
# Operations that take no CPU tensor, though it has no dimension.
_NO_NUMBERS = {"_fused_adam_", "_fused_adamw_", "_fused_sgd_", "stack", "cat"}
_WAITS = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2", "is_nonzero"}
_tensor, _as_tensor, _to = torch.tensor, torch.as_tensor, torch.Tensor.to


@dataclass
class Counts:
    """How often values were copied and waited for, by the line that asked for it."""

    to_device: Counter = field(default_factory=Counter)
    from_device: Counter = field(default_factory=Counter)
    waits: Counter = field(default_factory=Counter)

    def note(self, kind):
        """Count one copy or wait for the innermost line of `fer_core`."""
        frames = [f for f in traceback.extract_stack() if "/fer_core/" in f.filename]
        ours = [f for f in frames if "/tests/" not in f.filename]
        at = ours[-1] if ours else traceback.extract_stack()[0]
        kind[f"{at.filename.split('/fer_core/')[-1]}:{at.lineno}"] += 1

    def __str__(self):
        kinds = {"to": self.to_device, "from": self.from_device, "waits": self.waits}
        return "\n".join(f"{kind} {n} {line}" for kind, c in kinds.items() for line, n in c.items())


_counts = Counts()


class Pretend(torch.Tensor):
    """For C++ a CPU tensor without storage; for Python code a tensor on cuda:0."""

    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=CPU,
        )

    def __init__(self, inner):
        self.inner = inner

    device = property(lambda self: CUDA)
    is_cuda = property(lambda self: True)
    is_cpu = property(lambda self: False)

    def __repr__(self):
        return f"Pretend({self.inner!r})"

    def cpu(self):
        with _ASKED:
            return torch.ops.aten._to_copy.default(self, device=CPU)

    def cuda(self):
        return self

    def get_device(self):
        return 0

    def to(self, *args, copy=False, **kwargs):
        if args and isinstance(args[0], torch.Tensor):
            args = (args[0].device, args[0].dtype, *args[1:])
        device, dtype, _, layout = torch._C._nn._parse_to(*args, **kwargs)
        given = {"memory_format": layout} if layout is not None else {}
        if device is not None and device.type == "cpu":
            with _ASKED:
                return torch.ops.aten._to_copy.default(self, dtype=dtype, device=CPU, **given)
        if dtype in (None, self.dtype) and not given and not copy:
            return self
        return torch.ops.aten._to_copy.default(self, dtype=dtype or self.dtype, **given)

    def numpy(self, *, force=False):
        if not force:
            raise TypeError(_ON_CPU)
        return self.detach().cpu().numpy()

    def __array__(self, *_, **__):
        raise TypeError(_ON_CPU)

    def tolist(self):
        return self.cpu().tolist()

    def new_tensor(self, data, *, dtype=None, **_):
        return _wrapped(_tensor(data, dtype=dtype or self.dtype))

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})

    __torch_function__ = torch._C._disabled_torch_function_impl


class _Asked:
    """Whether Python asked for the CPU; C++ takes a `Pretend` for a CPU tensor and asks, too."""

    now = False

    def __enter__(self):
        self.now = True

    def __exit__(self, *_):
        self.now = False


_ASKED = _Asked()


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


def _run(func, args, kwargs):
    """Run an operation on the values, after a look at where each tensor is said to be."""
    name = func._schema.name.removeprefix("aten::")
    flat, spec = tree_flatten((args, kwargs))
    ours = [t for t in flat if isinstance(t, Pretend)]
    plain = [t for t in flat if isinstance(t, torch.Tensor) and not isinstance(t, Pretend)]
    to_cuda = _is_cuda(kwargs.get("device"))
    if not ours and not to_cuda:
        with _disable_current_modes():
            return func(*args, **kwargs)
    _check(name, args, kwargs, ours, plain)
    wrapper_of = {id(t.inner): t for t in ours}
    values, options = tree_unflatten([t.inner if isinstance(t, Pretend) else t for t in flat], spec)
    on_cuda = _count_moves(name, args, kwargs, ours, plain)
    if "device" in kwargs:
        options = {k: v for k, v in options.items() if k not in ("pin_memory", "non_blocking")}
        options["device"] = CPU
    with _disable_current_modes():
        result = func(*values, **options)

    def back(t):
        if not isinstance(t, torch.Tensor) or isinstance(t, Pretend):
            return t
        if id(t) in wrapper_of:  # the operation worked in place
            return wrapper_of[id(t)]
        return _wrapped(t) if on_cuda else t

    return tree_map(back, result)


def _check(name, args, kwargs, ours, plain):
    """Refuse what CUDA refuses: tensors of two devices, and a generator of the CPU."""
    generator = kwargs.get("generator")
    if generator is not None and generator.device.type != "cuda":
        raise RuntimeError(f"{name}: Expected a 'cuda' device type for generator but found 'cpu'")
    in_backward = torch._C._current_graph_task_id() != -1  # there C++ alone makes tensors
    if not ours or in_backward or name in ("_to_copy", "copy_", "_copy_from"):
        return
    for t in plain:
        number = t.dim() == 0 and name not in _NO_NUMBERS
        is_index = name in _INDEXING and t is not args[0] and not (len(args) > 2 and t is args[2])
        if is_index:
            _counts.note(_counts.to_device)
        elif not number and name not in _LENGTHS:
            raise RuntimeError(_CUDA_ERROR.format(name, [tuple(each.shape) for each in plain]))


def _count_moves(name, args, kwargs, ours, plain):
    """Count what an operation copies or waits for, and return whether its result is on the GPU."""
    masks = args[1] if name in _INDEXING else ()
    if name in _WAITS or any(t is not None and t.dtype in (torch.bool, torch.uint8) for t in masks):
        _counts.note(_counts.waits)
    if name == "copy_" and isinstance(args[0], Pretend) != isinstance(args[1], Pretend):
        into = isinstance(args[0], Pretend)
        _counts.note(_counts.to_device if into else _counts.from_device)
        return into
    if "device" not in kwargs or (name == "_to_copy" and ours and not _ASKED.now):
        return bool(ours)
    to_cuda = _is_cuda(kwargs["device"])
    if name == "_to_copy" and bool(ours) != to_cuda:
        _counts.note(_counts.to_device if to_cuda else _counts.from_device)
    return to_cuda or (bool(ours) and (name.startswith("new_") or name.endswith("_like")))


def _is_cuda(device):
    return device is not None and torch.device(device).type == "cuda"


def _wrapped(tensor):
    with _disable_current_modes():
        return Pretend(tensor)


def _moved(tensor):
    _counts.note(_counts.to_device)
    return _wrapped(tensor)


def _new_tensor(data, *args, device=None, **kwargs):
    made = _tensor(data, *args, **kwargs)
    return _moved(made) if _is_cuda(device) else made


def _new_as_tensor(data, dtype=None, device=None):
    if isinstance(data, Pretend):
        return data.to(dtype=dtype or data.dtype)
    made = _as_tensor(data, dtype=dtype)
    return _moved(made) if _is_cuda(device) else made


def _new_to(self, *args, **kwargs):
    if isinstance(self, Pretend):
        return self.to(*args, **kwargs)
    if args and isinstance(args[0], Pretend):
        args = (CUDA, args[0].dtype, *args[1:])
    if args and isinstance(args[0], torch.Tensor):
        return _to(self, *args, **kwargs)
    parsed = {name: value for name, value in kwargs.items() if name != "copy"}
    device, dtype, _, layout = torch._C._nn._parse_to(*args, **parsed)
    if not _is_cuda(device):
        return _to(self, *args, **kwargs)
    given = {"memory_format": layout} if layout else {}
    return _moved(_to(self.detach(), dtype=dtype or self.dtype, copy=True, **given))


_CUDA_NAMES = {
    "is_available": lambda: True,
    "_lazy_init": lambda: None,
    "is_initialized": lambda: True,
    "device_count": lambda: 1,
    "current_device": lambda: 0,
    "synchronize": lambda device=None: _counts.note(_counts.waits),
    "get_device_name": lambda device=None: "Pretend A10G",
    "max_memory_allocated": lambda device=None: 0,
    "reset_peak_memory_stats": lambda device=None: None,
    "is_bf16_supported": lambda including_emulation=True: True,
    "get_rng_state": lambda device=None: torch.get_rng_state(),
    "set_rng_state": lambda state, device=None: None,
    "set_per_process_memory_fraction": lambda share, device=None: None,
    "empty_cache": lambda: None,
    "manual_seed_all": lambda seed: None,
    "manual_seed": lambda seed: None,
}


@contextmanager
def pretend_cuda(gib=24.0):
    """Make this process believe that it has a GPU of so much memory; give the counts."""
    global _counts
    _counts = Counts()
    memory = (int(gib * 2**30),) * 2
    named = {**_CUDA_NAMES, "mem_get_info": lambda device=None: memory}
    autocast, cudnn, future = torch.autocast, torch.backends.cudnn, torch.__future__
    enabled, lift = cudnn.enabled, torch._C._only_lift_cpu_tensors()
    overwrite = future.get_overwrite_module_params_on_conversion()

    def on_cpu(kind, *args, **kwargs):
        return autocast("cpu" if kind == "cuda" else kind, *args, **kwargs)

    health = "_accelerator_graph_capture_health_check"
    with (
        mock.patch.multiple(torch.cuda, **named),
        mock.patch.multiple(torch, tensor=_new_tensor, as_tensor=_new_as_tensor, autocast=on_cpu),
        mock.patch.object(torch.Tensor, "to", _new_to),
        mock.patch.object(torch.optim.Optimizer, health, return_value=None),
        _Mode(),
    ):
        cudnn.enabled = False
        torch._C._set_only_lift_cpu_tensors(True)
        future.set_overwrite_module_params_on_conversion(True)
        try:
            yield _counts
        finally:
            future.set_overwrite_module_params_on_conversion(overwrite)
            torch._C._set_only_lift_cpu_tensors(lift)
            cudnn.enabled = enabled
