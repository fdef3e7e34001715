"""How the recurrent stack is computed: the same numbers as `charrnn.network.model.reference_stack`, faster.

`compiled`: C compiled on this host (compiled.py), CPU only; `pytorch`: PyTorch's whole-sequence operators
(operators.py); `reference`: step by step. Each leaves what it cannot do to the next.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from charrnn.network.kernels.build import CompileError
from charrnn.network.kernels.compiled import CompiledStack, loaded
from charrnn.network.kernels.operators import OperatorStack
from charrnn.network.kernels.update import CompiledStep

if TYPE_CHECKING:
    from charrnn.network.model import Stack

KERNELS = ("compiled", "pytorch", "reference")

__all__ = ["KERNELS", "CompileError", "compiled_name", "compiled_step", "make_stack", "why_not_compiled"]


def why_not_compiled() -> str | None:
    """Why there is no compiled kernel on this host; None if there is one. Compiles it if it never was."""
    found = loaded()
    return str(found) if isinstance(found, CompileError) else None


def compiled_name() -> str:
    """A name of the compiled kernels that this host uses, another for other ones; empty where there are none."""
    found = loaded()
    return "" if isinstance(found, CompileError) else found.name


def compiled_step(values: Tensor, threads: int) -> CompiledStep | None:
    """The optimiser's step by the compiled kernels, for flat parameters [N]; None where they cannot take it."""
    found = loaded()
    if isinstance(found, CompileError) or values.device.type != "cpu" or values.dtype != torch.float32:
        return None
    return CompiledStep(found, threads, values.numel())


def make_stack(kernel: str, *, precision: str, threads: int) -> "Stack":
    """The stack of a kernel; precision: fp32 or bf16, of the products in training.

    Raises CompileError for `compiled` where there is none, or none in this precision.
    """
    from charrnn.network.model import reference_stack  # noqa: PLC0415 - the model names the type of what is made here

    operators = OperatorStack(precision=precision, otherwise=reference_stack)
    if kernel == "pytorch":
        return operators
    if kernel == "compiled":
        library = loaded()
        if isinstance(library, CompileError):
            raise library
        if precision == "bf16" and not library.bf16:
            raise CompileError("this CPU has no products in bfloat16 that the compiled kernels could use")
        return CompiledStack(library, precision=precision, threads=threads, otherwise=operators)
    return reference_stack
