"""The optimiser's step by the compiled kernels: bounds, RMSprop or Adam, and norms in one pass over memory."""

import ctypes
import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from charrnn.network.kernels.compiled import Library

_I64, _F32, _POINTER = ctypes.c_int64, ctypes.c_float, ctypes.c_void_p
RMSPROP, ADAM = 0, 1


class Update(ctypes.Structure):
    """`update_t` of native/update.h, where each field is described."""

    _fields_ = (
        ("n", _I64),
        ("threads", _I64),
        ("method", ctypes.c_int32),
        *((name, _F32) for name in ("limit", "share", "kept", "new", "mean_new", "root", "rate", "decay")),
        *((name, _POINTER) for name in ("values", "gradients", "square", "mean", "decayed", "squares")),
    )


class CompiledStep:
    """Bounds the gradients and takes the optimiser's step, for flat float32 tensors [N] on the CPU.

    As charrnn.training.optimisation computes them with PyTorch, but for the last bit of a square root.
    """

    def __init__(self, library: "Library", threads: int, flat: int) -> None:
        self._functions = library.functions
        self._functions.update_pieces.restype = _I64
        self.threads = threads
        self._squares = torch.zeros(int(self._functions.update_pieces(_I64(flat))), 2, dtype=torch.float64)

    def __call__(self, update: Update, tensors: dict[str, Tensor], limit: float, by: str) -> tuple[float, float]:
        """Takes the step; gives the norms of the gradients as used, and of the new values."""
        update.n, update.threads = tensors["values"].numel(), self.threads
        for name, tensor in (tensors | {"squares": self._squares}).items():
            setattr(update, name, tensor.data_ptr())
        update.limit, update.share = 0.0, 1.0
        if limit > 0 and by == "value":
            update.limit = limit
        elif limit > 0:
            self._functions.measure(ctypes.byref(update))
            update.share = min(1.0, limit / (math.sqrt(float(self._squares[:, 0].sum())) + 1e-6))
        self._functions.update(ctypes.byref(update))
        gradients, values = self._squares.sum(0).sqrt().tolist()
        return gradients, values
