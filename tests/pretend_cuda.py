"""A device that is called cuda and computes on the CPU: mixing it with CPU tensors fails as on a GPU.

Tensors of it are wrappers whose device is 'cuda:0'. A dispatch mode takes every operator: it checks that all tensors of
more than no dimension are on one device, runs the operator on the CPU and wraps what comes out. So code that forgets to
move a tensor, asks a GPU's tensor for NumPy, or calls an operator for which PyTorch has no CUDA kernel fails here too,
on a machine without a GPU; what the kernels do, their types of numbers, speed, memory and rounding are not tested.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Thread
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

GPU, CPU = torch.device("cuda", 0), torch.device("cpu")
_aten = torch.ops.aten
_PHYSICAL = {_aten._conj.default: _aten._conj_physical.default, _aten._neg_view.default: _aten.neg.default}
"""A bit that says that a tensor is conjugated or negative is not looked at below a dispatch mode."""
_KERNELS = (
    "CUDA",
    "CompositeExplicitAutograd",
    "CompositeExplicitAutogradNonFunctional",
    "CompositeImplicitAutograd",
)
_CROSSING = {_aten.copy_.default, _aten._to_copy.default, _aten.set_data.default}
_INDEXING = {_aten.index.Tensor, _aten.index_put_.default, _aten.index_put.default, _aten._unsafe_index.Tensor}


class PretendTensor(Tensor):
    """A tensor on the pretended device; `held` has its values, `made` says how many there were so far."""

    held: Tensor
    made = 0

    @staticmethod
    def __new__(cls, held: Tensor) -> PretendTensor:
        made = Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=GPU,
            requires_grad=held.requires_grad,
        )
        made.held = held
        cls.made += 1
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    def numpy(self, *, force: bool = False) -> Any:
        if force:
            return self.held.detach().numpy()
        raise TypeError("can't convert cuda:0 device type tensor to numpy; use Tensor.cpu() first")

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.held.__reduce_ex__(protocol)  # a file holds values, and says of a GPU's where they were

    def tolist(self) -> Any:
        return self.held.tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _is_gpu(device: Any) -> bool:
    return device is not None and torch.device(device).type == "cuda"


@cache
def has_cuda_kernel(func: Any) -> bool:
    """Whether this build of PyTorch has code for an operator on a GPU; true where it is built without CUDA."""
    schema = func._schema
    name = f"{schema.name}.{schema.overload_name}" if schema.overload_name else schema.name
    known = torch._C._dispatch_has_kernel_for_dispatch_key
    return not torch.backends.cuda.is_built() or any(known(name, key) for key in _KERNELS)


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    flat, spec = tree_flatten((args, kwargs))
    pretended = any(isinstance(value, PretendTensor) for value in flat)
    device = kwargs.get("device")
    if (pretended or _is_gpu(device)) and not has_cuda_kernel(func):
        raise RuntimeError(f"{func}: PyTorch has no kernel for CUDA")
    if func not in _CROSSING and pretended:
        _check_one_device(func, args, flat)
    held = [value.held if isinstance(value, PretendTensor) else value for value in flat]
    inner_args, inner_kwargs = tree_unflatten(held, spec)
    if _is_gpu(device):
        inner_kwargs["device"] = CPU
    inner_kwargs.pop("non_blocking", None)
    result = _PHYSICAL.get(func, func)(*inner_args, **inner_kwargs)
    if func is _aten.copy_.default:
        return args[0]
    on_gpu = _is_gpu(device) if device is not None else pretended
    if not on_gpu:
        return result
    known = {id(value.held): value for value in flat if isinstance(value, PretendTensor)}
    return tree_map(lambda out: known[id(out)] if id(out) in known else _wrapped(out), result)


def _wrapped(value: Any) -> Any:
    return PretendTensor(value) if isinstance(value, Tensor) and not isinstance(value, PretendTensor) else value


def _check_one_device(func: Any, args: Any, flat: list[Any]) -> None:
    """Raise where tensors of the CPU meet those of the GPU in one operator, as PyTorch does."""
    if func in _INDEXING and isinstance(args[0], PretendTensor):
        return  # indices may be on the CPU
    others = [value for value in flat if isinstance(value, Tensor) and not isinstance(value, PretendTensor)]
    if any(value.dim() for value in others):
        raise RuntimeError(f"{func}: expected all tensors to be on the same device, cuda:0 and cpu")


class _PretendGenerator(torch.Generator):
    """A generator that says which device it was asked for."""

    def __new__(cls, device: Any = "cpu") -> _PretendGenerator:
        made = super().__new__(cls)
        made.asked_for = GPU if _is_gpu(device) else CPU
        return made

    @property
    def device(self) -> torch.device:
        return self.asked_for


class _Pretence(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


@contextmanager
def pretend_cuda(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Offer the pretended device as CUDA, in threads too."""
    patch.setattr(torch.cuda, "_lazy_init", lambda: None)
    patch.setattr(torch.cuda, "is_available", lambda: True)
    patch.setattr(torch.cuda, "current_device", lambda: 0)
    patch.setattr(torch.cuda, "device_count", lambda: 1)
    patch.setattr(torch.cuda, "set_device", lambda _: None)
    patch.setattr(torch.cuda, "get_device_capability", lambda *_: (9, 0))
    patch.setattr(torch.cuda, "get_device_name", lambda *_: "pretended")
    patch.setattr(torch.cuda, "empty_cache", lambda: None)
    patch.setattr(torch.cuda, "is_bf16_supported", lambda *_, **__: True)
    patch.setattr(torch.backends.cudnn, "enabled", False)
    patch.setattr(torch, "Generator", _PretendGenerator)
    patch.setattr(Tensor, "pin_memory", lambda tensor, *_: tensor)
    torch._C._ensureCUDADeviceGuardSet()
    patch.setattr(torch.inference_mode, "__enter__", _stop_gradients)  # wrappers do not live in inference mode
    patch.setattr(torch.inference_mode, "__exit__", _allow_gradients)
    run = Thread.run

    def run_pretending(thread: Thread) -> None:
        with _mode():
            run(thread)

    patch.setattr(Thread, "run", run_pretending)
    overwrite = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        with _mode():
            yield
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(overwrite)


@contextmanager
def _mode() -> Iterator[None]:
    lifted = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(..., device=) is made on the CPU and then moved
    try:
        with _Pretence():
            yield
    finally:
        torch._C._set_only_lift_cpu_tensors(lifted)


def _stop_gradients(self: Any) -> None:
    self.before = torch.is_grad_enabled()
    torch.set_grad_enabled(False)


def _allow_gradients(self: Any, *_: object) -> None:
    torch.set_grad_enabled(self.before)
