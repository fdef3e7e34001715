"""Every kernel against the reference in float64: losses, states, gradients; and that the same comes out again."""

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from charrnn.errors import CharRNNError
from charrnn.network.autotune import Choice, possible
from charrnn.network.kernels import KERNELS, make_stack, why_not_compiled
from charrnn.network.kernels.build import CompileError
from charrnn.network.kernels.compiled import CompiledStack, Library, Task, Workspaces, loaded, verify
from charrnn.network.model import CharRNN, ModelConfig, State, reference_stack

NETWORKS = [
    ModelConfig(11, "lstm", hidden_size=20, num_layers=3),
    ModelConfig(70, "lstm", hidden_size=64, num_layers=2),
    ModelConfig(3, "lstm", hidden_size=33, num_layers=1, hidden_bias=False),
    ModelConfig(11, "gru", hidden_size=20, num_layers=3),
    ModelConfig(70, "gru", hidden_size=130, num_layers=2),
    ModelConfig(11, "gru", hidden_size=20, num_layers=3, reset_after=True),
    ModelConfig(70, "gru", hidden_size=130, num_layers=1, reset_after=True),
    ModelConfig(11, "rnn", hidden_size=20, num_layers=3),
    ModelConfig(70, "rnn", hidden_size=130, num_layers=2),
    ModelConfig(11, "lstm", hidden_size=20, num_layers=2, embedding_dim=7),
    ModelConfig(11, "gru", hidden_size=16, num_layers=2, embedding_dim=3),
]
WINDOWS = [(1, 1), (5, 7), (26, 5)]
# The largest relative error of a gradient: float32's rounding, and bfloat16's 8 bits through some ten products.
TOLERANCE = {"fp32": 1e-5, "bf16": 3e-2}


def library() -> Library:
    found = loaded()
    if isinstance(found, CompileError):
        pytest.skip(str(found))
    return found


@cache
def operators_have_an_lstm_in_bf16() -> bool:
    """oneDNN has none on CPUs without AVX-512; `charrnn.network.autotune` then counts it as infinitely slow."""
    return possible(ModelConfig(3, "lstm", hidden_size=4, num_layers=1), Choice("pytorch", "bf16", 1))


def make(kernel: str, precision: str, threads: int = 2) -> Any:
    if kernel == "compiled" and not library().bf16 and precision == "bf16":
        pytest.skip("this CPU has no bfloat16 products")
    return make_stack(kernel, precision=precision, threads=threads)


def network(config: ModelConfig, seed: int = 1) -> CharRNN:
    model = CharRNN(config)
    generator = torch.Generator().manual_seed(seed)
    bound = min(
        0.4, 2 / config.hidden_size**0.5
    )  # larger ones make the network chaotic: rounding then shows in any kernel
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(-bound, bound, generator=generator)
    return model


def window(config: ModelConfig, batch: int, steps: int) -> tuple[Tensor, Tensor, State]:
    generator = torch.Generator().manual_seed(2)
    tokens, targets = (torch.randint(config.vocabulary_size, (batch, steps), generator=generator) for _ in range(2))
    shape = (config.num_layers, batch, config.hidden_size)
    return tokens, targets, tuple(torch.rand(shape, generator=generator) - 0.5 for _ in range(config.definition.states))


def results(model: CharRNN, tokens: Tensor, targets: Tensor, state: State, *, whole: bool) -> dict[str, Tensor]:
    """Loss, new state and all gradients; whole: through `loss`, else through the logits."""
    dtype = model.decoder.weight.dtype
    state = tuple(part.detach().to(dtype).requires_grad_() for part in state)
    if whole:
        loss, last = model.loss(tokens, targets, state)
    else:
        logits, last = model(tokens, state)
        loss = functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
    model.zero_grad()
    # the state's part makes its gradient matter on the way back
    total = 3 * loss + sum(((part**2).sum() for part in last), torch.zeros(()))
    total.backward()  # type: ignore[no-untyped-call]
    found = {f"gradient of {name}": parameter.grad for name, parameter in model.named_parameters()}
    found |= {f"gradient of state {i}": part.grad for i, part in enumerate(state)}
    found |= {f"state {i}": part.detach() for i, part in enumerate(last)}
    assert all(value is not None for value in found.values())
    return {"loss": loss.detach(), **{name: value for name, value in found.items() if value is not None}}


def distance(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected.double()).norm() / expected.double().norm().clamp(min=1e-12))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("config", NETWORKS, ids=str)
def test_kernels_give_the_reference_s_numbers(config: ModelConfig, kernel: str, precision: str) -> None:
    if (kernel, precision, config.cell) == ("pytorch", "bf16", "lstm") and not operators_have_an_lstm_in_bf16():
        pytest.skip("PyTorch has no LSTM in bfloat16 on this CPU")
    stack = make(kernel, precision)
    for batch, steps in WINDOWS:
        texts = window(config, batch, steps)
        expected = results(network(config).double(), *texts, whole=False)
        for whole in (True, False):
            model = network(config)
            model.stack = stack
            found = results(model, *texts, whole=whole)
            assert found.keys() == expected.keys()
            worst = max((distance(found[name], expected[name]), name) for name in expected)
            assert worst[0] < TOLERANCE[precision], (worst, batch, steps, whole)


@pytest.mark.parametrize("config", NETWORKS, ids=str)
def test_evaluation_is_never_in_low_precision(config: ModelConfig) -> None:
    tokens, _, state = window(config, 3, 9)
    for kernel in KERNELS:
        model = network(config).eval()
        bf16 = kernel != "compiled" or library().bf16
        model.stack = make_stack(kernel, precision="bf16" if bf16 else "fp32", threads=2)
        with torch.no_grad():
            found = model(tokens, state)[0]
            expected = network(config).double().eval()(tokens, tuple(part.double() for part in state))[0]
        assert distance(found, expected) < 2e-6


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("config", NETWORKS[::3], ids=str)
def test_compiled_results_are_the_same_to_the_bit_for_any_number_of_threads(
    config: ModelConfig, precision: str
) -> None:
    config = replace(config, dropout=0.3)
    texts = window(config, 31, 9)
    seen = []
    for threads in (1, 2, 3, 7, 2):
        torch.manual_seed(5)
        model = network(config)
        model.stack = make("compiled", precision, threads)
        seen.append(results(model, *texts, whole=True))
    for other in seen[1:]:
        assert all(torch.equal(other[name], seen[0][name]) for name in other)


@pytest.mark.parametrize("config", NETWORKS[::3], ids=str)
def test_a_row_does_not_depend_on_the_others(config: ModelConfig) -> None:
    tokens, _, state = window(config, 17, 6)
    model = network(config)
    model.stack = make("compiled", "fp32", 3)
    whole = model.hidden(tokens, state)[0]
    for row in (0, 11, 16):
        alone = model.hidden(tokens[row : row + 1], tuple(part[:, row : row + 1] for part in state))[0]
        assert torch.equal(alone[0], whole[row])


def test_dropout_drops_its_share_and_keeps_the_mean() -> None:
    config = ModelConfig(5, hidden_size=256, num_layers=1, dropout=0.25)
    model = network(config)
    tokens, _, state = window(config, 40, 30)
    plain = network(replace(config, dropout=0.0))
    plain.stack = model.stack = make("compiled", "fp32")
    torch.manual_seed(1)
    dropped, expected = model.hidden(tokens, state)[0], plain.hidden(tokens, state)[0]
    kept = dropped != 0
    assert abs(float(kept.float().mean()) - 0.75) < 0.005
    assert torch.allclose(dropped[kept], expected[kept] / 0.75, rtol=1e-5)
    torch.manual_seed(1)
    assert torch.equal(model.hidden(tokens, state)[0], dropped)
    assert not torch.equal(model.hidden(tokens, state)[0], dropped)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_gradients_through_dropout_are_those_of_the_same_masks(cell: str) -> None:
    """The loss is a smooth function for a fixed seed: its slope along the gradient must be the gradient's length."""
    config = ModelConfig(7, cell, hidden_size=32, num_layers=2, dropout=0.5)
    model = network(config)
    model.stack = make("compiled", "fp32")
    texts = window(config, 6, 5)

    def loss_and_gradient() -> tuple[float, list[Tensor]]:
        torch.manual_seed(9)
        model.zero_grad()
        loss, _ = model.loss(*texts)
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach()), [p.grad.clone() for p in model.parameters() if p.grad is not None]

    _, gradient = loss_and_gradient()
    length = float(torch.cat([one.flatten() for one in gradient]).norm())
    step = 0.02 / length
    ends = []
    for sign in (1, -1):
        with torch.no_grad():
            for parameter, one in zip(model.parameters(), gradient, strict=True):
                parameter.add_(one, alpha=sign * step)
        ends.append(loss_and_gradient()[0])
        with torch.no_grad():
            for parameter, one in zip(model.parameters(), gradient, strict=True):
                parameter.sub_(one, alpha=sign * step)
    assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(length**2, rel=0.02)


def test_what_the_compiled_kernels_do_not_know_is_left_to_others() -> None:
    plain = ModelConfig(9, hidden_size=16)
    tokens, targets, state = window(plain, 4, 6)
    resets = torch.zeros(4, 6, dtype=torch.bool)
    resets[1, 3] = True
    cases: list[tuple[ModelConfig, Tensor | None, torch.dtype]] = [
        (plain, resets, torch.float32),
        (replace(plain, batchnorm=True), None, torch.float32),
        (plain, None, torch.float64),
    ]
    for config, mask, dtype in cases:
        outcomes = []
        for kernel in ("compiled", "pytorch", "reference"):
            model = network(config).to(dtype)
            model.stack = make(kernel, "fp32")
            loss, _ = model.loss(tokens, targets, tuple(part.to(dtype) for part in state), mask)
            outcomes.append(float(loss.detach()))
        assert outcomes[0] == outcomes[1] == pytest.approx(outcomes[2], rel=1e-6)


def test_a_large_vocabulary_is_decoded_by_pytorch() -> None:
    config = ModelConfig(3000, hidden_size=16, num_layers=1)
    texts = window(config, 3, 4)
    model = network(config)
    model.stack = make("compiled", "fp32")
    expected = results(network(config).double(), *texts, whole=False)
    found = results(model, *texts, whole=True)
    assert max(distance(found[name], expected[name]) for name in expected) < 1e-5


@pytest.mark.parametrize("symbol", [-1, 9])
def test_a_symbol_outside_the_vocabulary_is_refused(symbol: int) -> None:
    model = network(ModelConfig(9, hidden_size=16))
    model.stack = make("compiled", "fp32")
    tokens = torch.zeros(2, 3, dtype=torch.int64)
    wrong = tokens.clone()
    wrong[1, 1] = symbol
    for pair in ((wrong, tokens), (tokens, wrong)):
        with pytest.raises(IndexError, match="not in the vocabulary of 9"):
            model.loss(*pair)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_is_no_number_stays_so(precision: str) -> None:
    """An exploding run is recognised by its loss: the kernels' clamps must not hide it."""
    config = ModelConfig(9, hidden_size=32)
    for name in ("layers.0.hidden.weight", "layers.1.input.weight", "decoder.weight", "decoder.bias"):
        model = network(config)
        model.stack = make("compiled", precision)
        with torch.no_grad():
            model.get_parameter(name).view(-1)[:3] = float("nan")
        tokens, targets, state = window(config, 3, 4)
        assert model.loss(tokens, targets, state)[0].isnan()


def test_extreme_weights_saturate_and_do_not_overflow() -> None:
    config = ModelConfig(9, hidden_size=32)
    model = network(config)
    model.stack = make("compiled", "fp32")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(200)
    texts = window(config, 3, 6)
    expected = results(network_scaled(config, 200).double(), *texts, whole=False)
    found = results(model, *texts, whole=True)
    assert found["loss"].isfinite()
    assert float(found["loss"]) == pytest.approx(float(expected["loss"]), rel=1e-3)


def network_scaled(config: ModelConfig, factor: float) -> CharRNN:
    model = network(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(factor)
    return model


def test_one_window_has_one_backward_pass() -> None:
    model = network(ModelConfig(9, hidden_size=16))
    model.stack = make("compiled", "fp32")
    loss, _ = model.loss(*window(model.config, 2, 3))
    loss.backward(retain_graph=True)  # type: ignore[no-untyped-call]
    with pytest.raises(RuntimeError, match="backward pass needs only once"):
        loss.backward()  # type: ignore[no-untyped-call]


def test_windows_may_be_open_side_by_side() -> None:
    """Memory goes back to the pool only when a window is over."""
    config = ModelConfig(9, hidden_size=16)
    model = network(config)
    model.stack = make("compiled", "fp32")
    first, second = window(config, 2, 3), window(config, 2, 3)
    expected = results(model, *first, whole=True)
    model.zero_grad()
    one, _ = model.loss(*first)
    other, _ = model.loss(*second)
    other.backward()  # type: ignore[no-untyped-call]
    model.zero_grad()
    one.backward()  # type: ignore[no-untyped-call]
    model_gradient = model.get_parameter("decoder.weight").grad
    assert model_gradient is not None
    assert distance(model_gradient * 3, expected["gradient of decoder.weight"]) < 1e-6


def test_workspaces_are_used_again() -> None:
    pool = Workspaces()
    first = pool.take(100_000)
    pool.give(first)
    assert pool.take(100_000).data_ptr() == first.data_ptr()
    assert pool.take(100_000).data_ptr() != first.data_ptr()
    pool.give(first)
    assert pool.take(50).numel() < 1000  # far too large a one is not kept


def test_a_kernel_that_is_not_there_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charrnn.network.kernels.loaded", lambda: CompileError("no compiler today"))
    assert why_not_compiled() == "no compiler today"
    with pytest.raises(CharRNNError, match="no compiler today"):
        make_stack("compiled", precision="fp32", threads=1)
    assert make_stack("reference", precision="fp32", threads=1) is reference_stack


def test_a_library_that_computes_something_else_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    good = library()
    verify(good)
    run = Library.call

    def wrong(self: Library, name: str, precision: str, task: Task) -> int:
        task.keep = 0.9  # as a miscompiled comparison might
        return run(self, name, precision, task)

    monkeypatch.setattr(Library, "call", wrong)
    with pytest.raises(CompileError, match="wrong here \\(lstm, fp32"):
        verify(good)


def test_training_goes_the_same_way_as_the_reference() -> None:
    """Forty steps of plain gradient descent: losses stay together as float32's rounding allows."""
    config = ModelConfig(12, hidden_size=24)
    text = torch.randint(12, (8, 41), generator=torch.Generator().manual_seed(4))
    losses: dict[str, list[float]] = {}
    for kernel in ("reference", "compiled"):
        model = network(config)
        model.stack = make(kernel, "fp32")
        state, losses[kernel] = model.initial_state(8), []
        for step in range(40):
            at = step % 4 * 10
            loss, state = model.loss(text[:, at : at + 10], text[:, at + 1 : at + 11], state)
            state = tuple(part.detach() for part in state)
            model.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            with torch.no_grad():
                for parameter in model.parameters():
                    assert parameter.grad is not None
                    parameter.sub_(parameter.grad, alpha=0.5)
            losses[kernel].append(float(loss.detach()))
    assert losses["compiled"] == pytest.approx(losses["reference"], rel=1e-4)
    assert losses["compiled"][-1] < losses["compiled"][0]
    assert isinstance(make("compiled", "fp32"), CompiledStack)
