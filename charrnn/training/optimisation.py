"""Steps: gradient clipping, optimisers, schedules.

All parameters live in one flat tensor, and all gradients in another; a parameter is a view. So a step is a
handful of operations however many layers there are, and the optimiser's state is one tensor or two. (The
optimisers of torch.optim would do the same arithmetic, but they bring torch._dynamo: more than a second before
the first step.)
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from charrnn.errors import CheckpointError
from charrnn.network.kernels.update import ADAM, RMSPROP, CompiledStep, Update
from charrnn.options.table import Options

Norms = tuple[float, float]
"""Euclidean, of the gradients and of the values."""


class FlatParameters:
    """A model's parameters and gradients, each as views of one tensor.

    values, gradients: [N]. Made once the model stands on its device; a parameter that is replaced afterwards
    falls out of it.
    """

    def __init__(self, model: nn.Module) -> None:
        parameters = list(model.parameters())
        self.values = torch.cat([parameter.detach().reshape(-1) for parameter in parameters])
        self.gradients = torch.zeros_like(self.values)
        # 1 where weight decay applies: matrices, not biases or scales.
        self.decayed = torch.cat(
            [torch.full((p.numel(),), float(p.dim() > 1), device=p.device) for p in parameters]
        ).to(self.values.dtype)
        start = 0
        for parameter in parameters:
            end = start + parameter.numel()
            parameter.data = self.values[start:end].view_as(parameter)
            parameter.grad = self.gradients[start:end].view_as(parameter)
            start = end

    def norms(self) -> Norms:
        """The Euclidean norms of the gradients and of the values."""
        return float(self.gradients.norm()), float(self.values.norm())


def clip_gradients(gradients: Tensor, limit: float, by: str) -> None:
    """Clips the gradients [N] in place by each component's value or by the norm of the whole; 0 clips nothing."""
    if limit <= 0:
        return
    if by == "value":
        gradients.clamp_(-limit, limit)
    else:
        gradients.mul_((limit / (gradients.norm() + 1e-6)).clamp(max=1.0))


class Optimiser:
    """Steps of a network's flat parameters along its gradients.

    compiled: takes the same steps faster, where there are compiled kernels for where the parameters are.
    """

    method: int

    def __init__(self, flat: FlatParameters, compiled: CompiledStep | None = None) -> None:
        self.flat = flat
        self.square = torch.zeros_like(flat.values)
        self._compiled = compiled
        self._scratch = torch.empty(0) if compiled else torch.empty_like(flat.values)

    def step(self, rate: float, limit: float = 0.0, by: str = "value", *, norms: bool = False) -> Norms | None:
        """One step along the gradients, bounded as by `clip_gradients`; the norms after it, where they are wanted."""
        if self._compiled is not None:
            tensors = {"values": self.flat.values, "gradients": self.flat.gradients, **self._tensors()}
            return self._compiled(self._update(rate), tensors, limit, by)
        clip_gradients(self.flat.gradients, limit, by)
        self._step(rate)
        return self.flat.norms() if norms else None

    def state(self) -> dict[str, Tensor]:
        """Its state by name: the tensors themselves, to be copied out of or into."""
        return {"square": self.square}

    def _step(self, rate: float) -> None:
        raise NotImplementedError

    def _update(self, rate: float) -> Update:
        """The same step as the compiled kernels take it."""
        raise NotImplementedError

    def _tensors(self) -> dict[str, Tensor]:
        return {"square": self.square}


class RMSprop(Optimiser):
    """m = a·m + (1 - a)·g²;  x -= rate·g / (sqrt(m) + 1e-8), as the original's optim.rmsprop. All [N]."""

    def __init__(self, flat: FlatParameters, *, alpha: float, compiled: CompiledStep | None = None) -> None:
        super().__init__(flat, compiled)
        self.alpha = alpha

    def _step(self, rate: float) -> None:
        gradients = self.flat.gradients
        self.square.mul_(self.alpha).addcmul_(gradients, gradients, value=1 - self.alpha)
        torch.sqrt(self.square, out=self._scratch).add_(1e-8)
        self.flat.values.addcdiv_(gradients, self._scratch, value=-rate)

    def _update(self, rate: float) -> Update:
        return Update(method=RMSPROP, kept=self.alpha, new=1 - self.alpha, rate=-rate)


class Adam(Optimiser):
    """Adam with bias correction (Kingma & Ba 2015); with decay, AdamW (Loshchilov & Hutter 2019). All [N]."""

    def __init__(
        self,
        flat: FlatParameters,
        *,
        beta1: float,
        beta2: float,
        decay: float = 0.0,
        compiled: CompiledStep | None = None,
    ) -> None:
        super().__init__(flat, compiled)
        self.beta1, self.beta2, self.decay = beta1, beta2, decay
        self.mean = torch.zeros_like(flat.values)
        # In float64: a float32 stops counting at 2^24. On the CPU, so that reading it waits for nothing.
        self.steps = torch.zeros(1, dtype=torch.float64)

    def _step(self, rate: float) -> None:
        gradients, values = self.flat.gradients, self.flat.values
        root, divisor = self._corrections()
        if self.decay:
            torch.mul(values, self.flat.decayed, out=self._scratch)
            values.add_(self._scratch, alpha=-rate * self.decay)
        self.mean.lerp_(gradients, 1 - self.beta1)
        self.square.mul_(self.beta2).addcmul_(gradients, gradients, value=1 - self.beta2)
        torch.sqrt(self.square, out=self._scratch).div_(root).add_(1e-8)
        values.addcdiv_(self.mean, self._scratch, value=-rate / divisor)

    def _update(self, rate: float) -> Update:
        root, divisor = self._corrections()
        return Update(
            method=ADAM,
            kept=self.beta2,
            new=1 - self.beta2,
            mean_new=1 - self.beta1,
            root=root,
            rate=-rate / divisor,
            decay=-rate * self.decay,
        )

    def _corrections(self) -> tuple[float, float]:
        """What a step divides by, because both means begin at zero: of the squares' root, and of the mean."""
        self.steps += 1
        count = float(self.steps)
        return math.sqrt(1 - self.beta2**count), 1 - self.beta1**count

    def state(self) -> dict[str, Tensor]:
        """Its state by name: the tensors themselves, to be copied out of or into."""
        return {"mean": self.mean, "square": self.square, "steps": self.steps}

    def _tensors(self) -> dict[str, Tensor]:
        return {"square": self.square, "mean": self.mean, "decayed": self.flat.decayed}


def make_optimiser(options: Options, flat: FlatParameters, compiled: CompiledStep | None = None) -> Optimiser:
    """The optimiser that the options name."""
    if options.optimizer == "rmsprop":
        return RMSprop(flat, alpha=options.decay_rate, compiled=compiled)
    decay = options.weight_decay if options.optimizer == "adamw" else 0.0
    return Adam(flat, beta1=options.beta1, beta2=options.beta2, decay=decay, compiled=compiled)


def restore_state(optimiser: Optimiser, saved: dict[str, Tensor]) -> None:
    """Copies a saved state into the optimiser; raises CheckpointError where it is another optimiser's."""
    own = optimiser.state()
    if {name: tensor.shape for name, tensor in own.items()} != {n: t.shape for n, t in saved.items()}:
        raise CheckpointError("the checkpoint's optimiser is not the one of its options")
    for name, tensor in own.items():
        tensor.copy_(saved[name])


def make_schedule(options: Options, *, per_epoch: int, total: int) -> Callable[[int], float]:
    """Gives the learning rate of an iteration (the first is 1).

    per_epoch: iterations in an epoch; total: iterations of the whole run. A decay is by epochs, as the
    originals have it: at the end of epoch `after` and of every `every`-th from there.
    """

    def decayed(iteration: int) -> float:
        finished = (iteration - 1) // per_epoch
        after, every = options.learning_rate_decay_after, options.learning_rate_decay_every
        # Epoch 0 has no end: a decay after 0 first happens at the end of the first epoch.
        times = 0 if finished < max(after, 1) else (finished - after) // every + (after > 0)
        return options.learning_rate * float(options.learning_rate_decay**times)

    def cosine(iteration: int) -> float:
        span = max(1, total - options.warmup)
        share = min(1.0, max(0, iteration - options.warmup) / span)
        low = min(options.min_learning_rate, options.learning_rate)
        return low + (options.learning_rate - low) * 0.5 * (1 + math.cos(math.pi * share))

    def trapezoid(iteration: int) -> float:
        span = max(1.0, total * options.cooldown)
        left = min(1.0, max(0, total - iteration) / span)
        low = min(options.min_learning_rate, options.learning_rate)
        return low + (options.learning_rate - low) * left

    def constant(_iteration: int) -> float:
        return options.learning_rate

    shapes = {"decay": decayed, "cosine": cosine, "trapezoid": trapezoid, "constant": constant}
    shape = shapes[options.schedule]

    def rate(iteration: int) -> float:
        grown = min(1.0, iteration / options.warmup) if options.warmup else 1.0
        return shape(iteration) * grown

    return rate
