"""Dropout whose mask holds for a whole window, of units and of recurrent weights, in every kernel."""

import pytest
import torch
from torch import Tensor

from charrnn.network.initialisation import initialise
from charrnn.network.kernels import make_stack, why_not_compiled
from charrnn.network.model import CharRNN, ModelConfig, State, weight_mask

CONFIG = ModelConfig(11, hidden_size=64, num_layers=3, dropout=0.5, locked_dropout=True)
PLAIN = ModelConfig(11, hidden_size=48, num_layers=2)
WEIGHTS = ModelConfig(11, hidden_size=48, num_layers=2, weight_dropout=0.4)


@pytest.fixture(params=["reference", "pytorch", "compiled"])
def kernel(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    if name == "compiled" and (reason := why_not_compiled()):
        pytest.skip(reason)
    return name


def network(kernel: str, config: ModelConfig = CONFIG) -> CharRNN:
    torch.manual_seed(3)
    model = CharRNN(config, stack=make_stack(kernel, precision="fp32", threads=1))
    initialise(model, "pytorch")
    return model


def outputs(model: CharRNN, tokens: Tensor) -> tuple[Tensor, State]:
    torch.manual_seed(5)
    return model.hidden(tokens, model.initial_state(tokens.shape[0]))


def test_a_unit_is_dropped_for_the_whole_window_and_for_one_stream(kernel: str) -> None:
    tokens = torch.randint(11, (8, 13), generator=torch.Generator().manual_seed(1))
    dropped = outputs(network(kernel).train(), tokens)[0] == 0
    assert torch.equal(dropped.all(1), dropped.any(1))
    masks = dropped[:, 0]
    assert 0.35 < masks.float().mean() < 0.65
    assert not torch.equal(masks[0], masks[1])


def test_the_next_window_has_other_masks(kernel: str) -> None:
    model, tokens = network(kernel).train(), torch.zeros(2, 4, dtype=torch.int64)
    first, state = outputs(model, tokens)
    second, _ = model.hidden(tokens, state)
    assert not torch.equal(first == 0, second == 0)


def test_nothing_is_dropped_in_evaluation(kernel: str) -> None:
    tokens = torch.randint(11, (3, 7), generator=torch.Generator().manual_seed(1))
    plain = ModelConfig(11, hidden_size=64, num_layers=3)
    found, expected = (outputs(network(kernel, config).eval(), tokens) for config in (CONFIG, plain))
    assert torch.equal(found[0], expected[0])


def test_outputs_keep_their_mean(kernel: str) -> None:
    model, tokens = network(kernel).train(), torch.zeros(512, 3, dtype=torch.int64)
    with torch.no_grad():
        mean = outputs(model, tokens)[0].mean(0)
        expected = outputs(network(kernel).eval(), tokens[:1])[0][0]
    # Exactly so in the first layer; the layers above see noise, which bends their mean a little.
    assert (mean - expected).abs().mean() < 0.3 * expected.abs().mean()


def test_the_operators_agree_with_the_reference() -> None:
    tokens = torch.randint(11, (4, 9), generator=torch.Generator().manual_seed(1))
    models = [network(kernel).train() for kernel in ("reference", "pytorch")]
    # Both draw their masks in the same order from the same generator.
    (one, state), (other, its_state) = (outputs(model, tokens) for model in models)
    assert torch.allclose(one, other, atol=1e-6)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(state, its_state, strict=True))
    one.square().sum().backward()  # type: ignore[no-untyped-call]
    other.square().sum().backward()  # type: ignore[no-untyped-call]
    for mine, theirs in zip(*(model.parameters() for model in models), strict=True):
        if mine.grad is not None:
            assert theirs.grad is not None
            assert torch.allclose(mine.grad, theirs.grad, atol=1e-4)


def test_the_compiled_kernels_gradients_hold_with_their_masks() -> None:
    """Finite differences of the loss, the masks being the same for the same seed."""
    if reason := why_not_compiled():
        pytest.skip(reason)
    model = network("compiled", ModelConfig(5, hidden_size=32, num_layers=2, dropout=0.4, locked_dropout=True)).train()
    tokens = torch.randint(5, (3, 6), generator=torch.Generator().manual_seed(1))

    def loss() -> Tensor:
        return outputs(model, tokens)[0].double().square().sum()

    loss().backward()  # type: ignore[no-untyped-call]
    step = 1e-2
    for name in ("layers.0.hidden.weight", "layers.1.input.weight", "layers.1.hidden.bias"):
        parameter = model.get_parameter(name)
        assert parameter.grad is not None
        direction = torch.sign(parameter.grad)
        slope = float((parameter.grad * direction).sum())
        with torch.no_grad():
            parameter.add_(step / 10 * direction)
            above = float(loss())
            parameter.sub_(step / 5 * direction)
            below = float(loss())
            parameter.add_(step / 10 * direction)
        assert (above - below) / (step / 5) == pytest.approx(slope, rel=2e-2)


def seeded_loss(model: CharRNN, seed: int = 5) -> Tensor:
    tokens = torch.randint(11, (4, 9), generator=torch.Generator().manual_seed(1))
    torch.manual_seed(seed)
    return model.loss(tokens, tokens.flip(1))[0]


def test_it_trains_the_network_whose_other_weights_are_zero(kernel: str) -> None:
    model, plain = (network(*which).train() for which in ((kernel, WEIGHTS), ("reference", PLAIN)))
    torch.manual_seed(5)
    masks = {
        name: weight_mask(torch.empty(192, 48), 0.4) for name in ("layers.0.hidden.weight", "layers.1.hidden.weight")
    }
    with torch.no_grad():
        for name, mask in masks.items():
            plain.get_parameter(name).mul_(mask)
    found, expected = seeded_loss(model), seeded_loss(plain)
    assert found.item() == pytest.approx(expected.item(), abs=1e-5)
    found.backward()  # type: ignore[no-untyped-call]
    expected.backward()  # type: ignore[no-untyped-call]
    for name, parameter in model.named_parameters():
        gradient = plain.get_parameter(name).grad
        assert parameter.grad is not None
        assert gradient is not None
        torch.testing.assert_close(parameter.grad, gradient * masks.get(name, 1.0), atol=1e-5, rtol=1e-3)


def test_a_mask_drops_its_share_everywhere_and_keeps_the_mean() -> None:
    torch.manual_seed(4)
    mask = weight_mask(torch.empty(500, 403), 0.3)
    dropped = (mask == 0).double()
    torch.testing.assert_close(mask.double(), (1 - dropped) / 0.7)
    # 201,500 figures: one standard deviation of their mean is 0.001, of every fourth's 0.002, of a column's 0.02.
    assert dropped.mean().item() == pytest.approx(0.3, abs=0.005)
    assert all(dropped.flatten()[lane::4].mean().item() == pytest.approx(0.3, abs=0.01) for lane in range(4))
    assert ((dropped.mean(0) - 0.3).abs() < 0.11).all()


def test_the_next_window_drops_other_weights(kernel: str) -> None:
    model = network(kernel, WEIGHTS).train()
    assert seeded_loss(model, 5).item() != seeded_loss(model, 6).item()


def test_no_weight_is_dropped_in_evaluation(kernel: str) -> None:
    plain = network(kernel, PLAIN)
    assert seeded_loss(network(kernel, WEIGHTS).eval()).item() == seeded_loss(plain.eval()).item()
