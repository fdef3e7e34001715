"""Steps against PyTorch's own optimisers, schedules against the originals' loops, bounds."""

import math
from functools import partial
from typing import Any

import pytest
import torch

from charrnn.errors import CheckpointError
from charrnn.network.initialisation import initialise
from charrnn.network.kernels import compiled_step, why_not_compiled
from charrnn.network.model import CharRNN, ModelConfig
from charrnn.options.recipes import resolve
from charrnn.training.optimisation import (
    FlatParameters,
    clip_gradients,
    make_optimiser,
    make_schedule,
    restore_state,
)


def twins() -> tuple[CharRNN, CharRNN]:
    one, two = CharRNN(ModelConfig(5, hidden_size=4)).double(), CharRNN(ModelConfig(5, hidden_size=4)).double()
    initialise(one, "char-rnn")
    two.load_state_dict(one.state_dict())
    return one, two


def torch_adamw(parameters: list[torch.Tensor]) -> torch.optim.Optimizer:
    matrices: dict[str, Any] = {"params": [p for p in parameters if p.dim() > 1], "weight_decay": 0.1}
    others: dict[str, Any] = {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0}
    return torch.optim.AdamW([matrices, others], lr=2e-3, betas=(0.9, 0.99))


@pytest.mark.parametrize(
    ("given", "theirs"),
    [
        ({}, lambda p: torch.optim.RMSprop(p, lr=2e-3, alpha=0.95, eps=1e-8)),
        ({"optimizer": "adam"}, lambda p: torch.optim.Adam(p, lr=2e-3)),
        ({"optimizer": "adamw", "weight_decay": 0.1, "beta2": 0.99}, torch_adamw),
    ],
)
def test_steps_are_those_of_torch(given: dict[str, Any], theirs: Any) -> None:
    one, two = twins()
    flat = FlatParameters(one)
    ours = make_optimiser(resolve(given), flat)
    other = theirs(list(two.parameters()))
    tokens = torch.randint(5, (3, 8))
    for _ in range(20):
        flat.gradients.zero_()
        one(tokens)[0].logsumexp(-1).sum().backward()
        ours.step(2e-3)
        other.zero_grad()
        two(tokens)[0].logsumexp(-1).sum().backward()
        other.step()
    for mine, reference in zip(one.parameters(), two.parameters(), strict=True):
        assert (mine - reference).abs().max() < 1e-12


@pytest.mark.parametrize("bound", [(0.0, "value"), (0.5, "value"), (0.7, "norm"), (1e6, "norm")], ids=str)
@pytest.mark.parametrize("size", [4, 33, 140])
@pytest.mark.parametrize(
    "given", [{}, {"optimizer": "adam", "beta1": 0.4}, {"optimizer": "adamw", "weight_decay": 0.1}], ids=str
)
def test_compiled_steps_are_the_same(given: dict[str, Any], size: int, bound: tuple[float, str]) -> None:
    """But for the last bit of a square root; a norm is summed in another order. Whatever the number of threads."""
    if why_not_compiled():
        pytest.skip(str(why_not_compiled()))
    models = [CharRNN(ModelConfig(5, hidden_size=size)) for _ in range(3)]
    initialise(models[0], "char-rnn")
    for model in models[1:]:
        model.load_state_dict(models[0].state_dict())
    flats = [FlatParameters(model) for model in models]
    options = resolve(given)
    plain, alone, shared = (
        make_optimiser(options, flat, compiled_step(flat.values, threads) if threads else None)
        for flat, threads in zip(flats, (0, 1, 3), strict=True)
    )
    for seed in range(5):
        gradient = torch.randn(flats[0].values.shape, generator=torch.Generator().manual_seed(seed))
        for flat in flats:
            flat.gradients.copy_(gradient)
        norms = [one.step(2e-3, *bound, norms=True) for one in (plain, alone, shared)]
        assert norms[1] == norms[2]
        assert norms[1] == pytest.approx(norms[0], rel=1e-5)
        exact = torch.equal if bound[1] == "value" else partial(torch.allclose, rtol=1e-5)
        assert exact(flats[0].gradients, flats[1].gradients)
        for name, tensor in plain.state().items():
            assert exact(tensor, alone.state()[name])
        assert (flats[0].values - flats[1].values).abs().max() < 1e-6
        assert torch.equal(flats[1].values, flats[2].values)
    assert all(torch.equal(a, b) for a, b in zip(alone.state().values(), shared.state().values(), strict=True))


def test_flat_parameters_are_views() -> None:
    model, _ = twins()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    flat = FlatParameters(model)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    flat.values += 1
    assert all(torch.equal(a + 1, b) for a, b in zip(before, model.parameters(), strict=True))
    model(torch.zeros(1, 3, dtype=torch.int64))[0].sum().backward()
    assert flat.gradients.count_nonzero() > 0
    assert flat.norms()[1] == pytest.approx(math.sqrt(sum(float((p.detach() ** 2).sum()) for p in model.parameters())))


class TestClip:
    def test_by_value(self) -> None:
        gradients = torch.tensor([-7.0, 0.5, 9.0])
        clip_gradients(gradients, 5, "value")
        assert gradients.tolist() == [-5.0, 0.5, 5.0]

    def test_by_norm(self) -> None:
        gradients = torch.tensor([3.0, 4.0])
        clip_gradients(gradients, 1, "norm")
        assert gradients.norm() == pytest.approx(1, abs=1e-5)
        clip_gradients(gradients, 10, "norm")
        assert gradients.norm() == pytest.approx(1, abs=1e-5)

    def test_zero_bounds_nothing(self) -> None:
        gradients = torch.tensor([-7.0, 9.0])
        clip_gradients(gradients, 0, "value")
        assert gradients.tolist() == [-7.0, 9.0]


def original_char_rnn(per_epoch: int, iterations: int, decay: float, after: int) -> list[float]:
    """The loop of the original's train.lua: the rate is changed at the end of an epoch."""
    rate, used = 2e-3, []
    for i in range(1, iterations + 1):
        used.append(rate)
        epoch = i / per_epoch
        if i % per_epoch == 0 and decay < 1 and epoch >= after:
            rate *= decay
    return used


def original_torch_rnn(per_epoch: int, iterations: int, factor: float, every: int) -> list[float]:
    rate, used = 2e-3, []
    for i in range(1, iterations + 1):
        used.append(rate)
        epoch = i // per_epoch + 1
        if i % per_epoch == 0 and epoch % every == 0:
            rate *= factor
    return used


class TestSchedules:
    @pytest.mark.parametrize("after", [0, 1, 3, 10])
    def test_char_rnn(self, after: int) -> None:
        options = resolve({"learning_rate_decay_after": after})
        rate = make_schedule(options, per_epoch=7, total=200)
        expected = original_char_rnn(7, 200, 0.97, after)
        assert [rate(i) for i in range(1, 201)] == pytest.approx(expected)

    @pytest.mark.parametrize("every", [1, 2, 5])
    def test_torch_rnn(self, every: int) -> None:
        options = resolve({"recipe": "torch-rnn", "learning_rate_decay_every": every})
        rate = make_schedule(options, per_epoch=7, total=200)
        assert [rate(i) for i in range(1, 201)] == pytest.approx(original_torch_rnn(7, 200, 0.5, every))

    def test_cosine_with_warmup(self) -> None:
        options = resolve({"schedule": "cosine", "learning_rate": 1.0, "min_learning_rate": 0.1, "warmup": 10})
        rate = make_schedule(options, per_epoch=7, total=110)
        assert rate(1) == pytest.approx(0.1)
        assert rate(10) == pytest.approx(1.0)
        assert rate(60) == pytest.approx(0.55)
        assert rate(110) == pytest.approx(0.1)
        assert rate(500) == pytest.approx(0.1)

    def test_trapezoid(self) -> None:
        options = resolve(
            {"schedule": "trapezoid", "learning_rate": 1.0, "min_learning_rate": 0.2, "warmup": 10, "cooldown": 0.25}
        )
        rate = make_schedule(options, per_epoch=7, total=200)
        assert rate(5) == pytest.approx(0.5)
        assert {rate(i) for i in range(10, 151)} == {1.0}
        assert rate(175) == pytest.approx(0.6)
        assert rate(200) == pytest.approx(0.2)
        assert rate(500) == pytest.approx(0.2)

    def test_trapezoid_without_a_cooldown_is_constant_to_the_end(self) -> None:
        rate = make_schedule(resolve({"schedule": "trapezoid", "cooldown": 0.0}), per_epoch=7, total=9)
        assert [rate(i) for i in range(1, 9)] == [2e-3] * 8

    def test_constant(self) -> None:
        rate = make_schedule(resolve({"schedule": "constant"}), per_epoch=1, total=9)
        assert {rate(i) for i in range(1, 10)} == {2e-3}


def test_the_state_of_another_optimiser_is_refused() -> None:
    model, _ = twins()
    flat = FlatParameters(model)
    adam = make_optimiser(resolve({"optimizer": "adam"}), flat)
    with pytest.raises(CheckpointError, match="optimiser"):
        restore_state(adam, {"square": torch.zeros(3)})
