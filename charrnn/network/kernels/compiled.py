"""The compiled kernels, called from PyTorch: the stack and the loss of a window in two calls, with their gradients."""

import ctypes
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from charrnn.network.kernels.build import CompileError, library

if TYPE_CHECKING:
    from charrnn.network.model import CharRNN, ModelConfig, Stack, State, Window

MAX_LAYERS = 64
MAX_OUTPUTS = 1024
"""Beyond this vocabulary the decoder is PyTorch's: its product is then large enough to be fast there."""

_I64, _F32, _U32, _I32, _POINTER = ctypes.c_int64, ctypes.c_float, ctypes.c_uint32, ctypes.c_int32, ctypes.c_void_p
CELLS = {"lstm": 0, "gru-before": 1, "gru-after": 2, "rnn": 3}
"""Cells that there are kernels for, as native/task.h numbers them."""


class Task(ctypes.Structure):
    """`task_t` of native/task.h, where each field is described."""

    _fields_ = (
        *((name, _I64) for name in ("cell", "steps", "batch", "layers", "hidden", "padded", "symbols")),
        *((name, _I64) for name in ("outputs", "outputs_padded", "threads")),
        ("keep", _F32),
        ("scale", _F32),
        ("seed", _U32),
        ("locked", _I32),
        *((name, _POINTER) for name in ("tokens", "targets", "weights", "gradients", "h0", "c0", "hn", "cn")),
        *((name, _POINTER) for name in ("dh", "dc", "output", "doutput", "loss", "memory")),
        ("add", _I64),
    )


@dataclass(frozen=True, slots=True)
class Library:
    """The loaded library.

    name: of its file, see `build.key`, and whether this process may use its tiles; granule: what sizes are rounded up
    to; bf16: whether it has products in bfloat16; tiles: whether the tile unit (AMX) makes them.
    """

    name: str
    functions: ctypes.CDLL
    granule: int
    bf16: bool
    tiles: bool

    def call(self, name: str, precision: str, task: Task) -> int:
        """Calls workspace, forward or backward of a precision; gives what it returns."""
        return int(getattr(self.functions, f"{name}_{precision}")(ctypes.byref(task)))

    def round_up(self, size: int) -> int:
        """A size with its padding."""
        return -(-size // self.granule) * self.granule


def load(path: Path) -> Library:
    """Loads a compiled library. Raises CompileError where it is not one of ours, or cannot be loaded."""
    try:
        functions = ctypes.CDLL(str(path))
        functions.granule.restype = functions.task_bytes.restype = _I64
        for precision in ("fp32", "bf16") if functions.has_bf16() else ("fp32",):
            getattr(functions, f"workspace_{precision}").restype = _I64
        if functions.task_bytes() != ctypes.sizeof(Task):
            raise CompileError(f"{path} was compiled from other sources")
        tiles = bool(functions.has_tiles())
        name = path.name + ("-tiles" if tiles else "")
        return Library(name, functions, int(functions.granule()), bool(functions.has_bf16()), tiles)
    except (OSError, AttributeError) as error:
        raise CompileError(f"{path} cannot be loaded: {error}") from error


@cache
def loaded() -> Library | CompileError:
    """This host's library, compiled now if it never was; or why there is none. Asked once a process."""
    try:
        found = load(library())
        verify(found)
    except CompileError as error:
        return error
    return found


def verify(library: Library) -> None:
    """Compares small windows with the reference. Raises CompileError where a compiler has made something else."""
    from charrnn.network.model import CharRNN, ModelConfig, reference_stack  # noqa: PLC0415 - it names the type of a stack

    generator = torch.Generator().manual_seed(0)
    # Odd and even batches; one tile of rows and two.
    windows = [torch.randint(5, shape, generator=generator) for shape in ((3, 4), (20, 3), (37, 2))]
    for cell in ("lstm", "gru"):
        model = CharRNN(ModelConfig(5, cell, hidden_size=18, num_layers=2))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.uniform_(-0.5, 0.5, generator=generator)
        expected = [_gradients(model, tokens) for tokens in windows]
        for precision, tolerance in (("fp32", 1e-4), ("bf16", 5e-2)):
            if precision == "fp32" or library.bf16:
                model.stack = CompiledStack(library, precision=precision, threads=1, otherwise=reference_stack)
                for tokens, right in zip(windows, expected, strict=True):
                    error = float((_gradients(model, tokens) - right).norm() / right.norm())
                    if not error <= tolerance:  # also where it is no number
                        raise CompileError(f"the compiled kernels are wrong here ({cell}, {precision}: by {error:.2g})")


def _gradients(model: "CharRNN", tokens: Tensor) -> Tensor:
    """The loss and all its gradients in one tensor."""
    model.zero_grad()
    loss, _ = model.loss(tokens, tokens.flip(1))
    loss.backward()  # type: ignore[no-untyped-call]
    parts = [loss.detach(), *(p.grad for p in model.parameters() if p.grad is not None)]
    return torch.cat([part.flatten() for part in parts])


class Workspaces:
    """Memory that calls hand on to the next call: a fresh one each time would cost more than the arithmetic saves."""

    def __init__(self) -> None:
        self._free: list[Tensor] = []
        self._lock = threading.Lock()

    def take(self, size: int) -> Tensor:
        """At least `size` bytes, uint8, with room to align."""
        with self._lock:
            fitting = [i for i, one in enumerate(self._free) if size <= one.numel() <= 2 * size + 4096]
            if fitting:
                return self._free.pop(fitting[-1])
            self._free.clear()  # of another shape, which is over
        return torch.empty(size + 64, dtype=torch.uint8)

    def give(self, workspace: Tensor) -> None:
        """Hands a workspace back."""
        with self._lock:
            if len(self._free) < 2:
                self._free.append(workspace)


def _pointers(tensors: Sequence[Tensor | None]) -> Any:
    return (_POINTER * len(tensors))(*[None if tensor is None else tensor.data_ptr() for tensor in tensors])


_Call: TypeAlias = "tuple[CompiledStack, str, Task]"
"""The stack that calls, the precision of its products, and what it asks for."""


class _Window(torch.autograd.Function):
    """tokens [B,S], targets [B,S] or None, state, weights -> mean loss, or outputs [B,S,H]; and the new state."""

    @staticmethod
    def forward(
        ctx: Any, call: "_Call", tokens: Tensor, targets: Tensor | None, states: int, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        stack, precision, task = call
        state, weights = [one.contiguous() for one in tensors[:states]], [one.contiguous() for one in tensors[states:]]
        tokens = tokens.contiguous()
        memory = stack.workspaces.take(stack.library.call("workspace", precision, task))
        task.tokens = tokens.data_ptr()
        task.memory = (memory.data_ptr() + 63) // 64 * 64
        last = [torch.empty_like(part) for part in state]
        task.h0, task.hn = state[0].data_ptr(), last[0].data_ptr()
        if states > 1:
            task.c0, task.cn = state[1].data_ptr(), last[1].data_ptr()
        pointers = _pointers(weights)
        task.weights = ctypes.cast(pointers, _POINTER)
        if targets is None:
            result = state[0].new_empty(*tokens.shape, task.hidden)
            task.output = result.data_ptr()
        else:
            targets = targets.contiguous()
            result = state[0].new_empty(tokens.shape)
            task.targets, task.loss = targets.data_ptr(), result.data_ptr()
        if stack.library.call("forward", precision, task):
            raise IndexError(f"a symbol is not in the vocabulary of {task.symbols}")
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(tokens, *weights)
            ctx.call, ctx.states, ctx.memory = call, states, memory
            ctx.set_materialize_grads(False)
        else:
            stack.workspaces.give(memory)
        return (result if targets is None else result.mean(), *last)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor | None, *state_gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        (stack, precision, task), memory = ctx.call, ctx.memory
        if memory is None:
            raise RuntimeError("the compiled kernels keep what a backward pass needs only once")
        tokens, *weights = ctx.saved_tensors
        decoded = bool(task.outputs)
        wanted = any(ctx.needs_input_grad[4 : 4 + ctx.states]) or any(one is not None for one in state_gradients)
        shape = (task.layers, task.batch, task.hidden)
        states = [torch.zeros(shape) if one is None else one.contiguous().clone() for one in state_gradients if wanted]
        task.dh = states[0].data_ptr() if wanted else None
        task.dc = states[1].data_ptr() if wanted and ctx.states > 1 else None
        if decoded:
            task.scale = float(gradient) / tokens.numel() if gradient is not None else 0.0
        else:
            outer = torch.zeros(*tokens.shape, task.hidden) if gradient is None else gradient.contiguous()
            task.doutput = outer.data_ptr()
        # Where every parameter has its gradient's place, sums are added there: no copy of them all is made.
        own = [weight.grad if weight.is_leaf else None for weight in weights]
        task.add = all(_takes_sums(grad) for grad in own)
        gradients = own if task.add else [torch.empty_like(weight) for weight in weights]
        weight_pointers, gradient_pointers = _pointers(weights), _pointers(gradients)
        task.tokens = tokens.data_ptr()
        task.weights = ctypes.cast(weight_pointers, _POINTER)
        task.gradients = ctypes.cast(gradient_pointers, _POINTER)
        stack.library.call("backward", precision, task)
        ctx.memory = None
        stack.workspaces.give(memory)
        given = [None] * len(weights) if task.add else gradients
        return (None, None, None, None, *(states if wanted else [None] * ctx.states), *given)


def _takes_sums(gradient: Tensor | None) -> bool:
    return gradient is not None and gradient.is_contiguous() and gradient.dtype == torch.float32


class CompiledStack:
    """The recurrent stack (see `charrnn.network.model.Stack`), and with the decoder the loss, by the compiled kernels.

    precision: of the products in training; evaluation is always in float32. What the kernels do not know
    (`supports`) is left to `otherwise`.
    """

    def __init__(self, library: Library, *, precision: str, threads: int, otherwise: "Stack") -> None:
        self.library = library
        self.precision = precision
        self.threads = threads
        self.otherwise = otherwise
        self.workspaces = Workspaces()

    def supports(self, window: "Window") -> bool:
        """Whether this is a window that the kernels can run: symbols in, float32 on the CPU, plain layers."""
        config = window.config
        return (
            window.tokens.dtype == torch.int64
            and window.tokens.device.type == "cpu"
            and window.tokens.numel() > 0
            and window.state[0].dtype == torch.float32
            and window.resets is None
            and not config.batchnorm
            and config.definition.name in CELLS
            and config.num_layers <= MAX_LAYERS
        )

    def __call__(self, window: "Window") -> tuple[Tensor, "State"]:
        """The stack's outputs [B,S,H] and the new state."""
        return self._run(window, None) if self.supports(window) else self.otherwise(window)

    def loss(self, window: "Window", targets: Tensor) -> tuple[Tensor, "State"] | None:
        """The mean loss over targets int64 [B,S] in nats, and the new state; None for what is not supported."""
        if window.config.vocabulary_size > MAX_OUTPUTS or not self.supports(window):
            return None
        return self._run(window, targets)

    def _run(self, window: "Window", targets: Tensor | None) -> tuple[Tensor, "State"]:
        config, parameters, tokens = window.config, window.parameters, window.tokens
        weights = layer_tensors(parameters, config)
        if config.embedding_dim:
            # A symbol's vector times the input weight is the same wherever the symbol stands: one column each.
            weights[0] = weights[0] @ parameters["embedding.weight"].t()
        if targets is not None:
            weights += [parameters["decoder.weight"], parameters["decoder.bias"]]
        state, task = window.state, self._task(window, 0 if targets is None else config.vocabulary_size)
        call: _Call = (self, self.precision if window.training else "fp32", task)
        result, *last = _Window.apply(call, tokens, targets, len(state), *state, *weights)  # type: ignore[no-untyped-call]
        return result, tuple(last)

    def _task(self, window: "Window", outputs: int) -> Task:
        config = window.config
        keep = 1.0 - config.dropout if window.training else 1.0
        return Task(
            cell=CELLS[config.definition.name],
            steps=window.tokens.shape[1],
            batch=window.tokens.shape[0],
            layers=config.num_layers,
            hidden=config.hidden_size,
            padded=self.library.round_up(config.hidden_size),
            symbols=config.vocabulary_size,
            outputs=outputs,
            outputs_padded=self.library.round_up(outputs),
            threads=self.threads,
            keep=keep,
            seed=int(torch.randint(1 << 32, (1,))) if keep < 1 else 0,
            locked=config.locked_dropout,
        )


def layer_tensors(parameters: Mapping[str, Tensor], config: "ModelConfig") -> list[Tensor]:
    """The layers' weights and biases in the order that the kernels take them."""
    return [
        parameters[f"layers.{layer}.{part}.{kind}"]
        for layer in range(config.num_layers)
        for part in ("input", "hidden")
        for kind in ("weight", "bias")
    ]
