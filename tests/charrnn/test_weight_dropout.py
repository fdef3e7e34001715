"""Recurrent weights that are dropped while training, in every kernel."""

import pytest
import torch
from torch import Tensor

from charrnn.initialisation import initialise
from charrnn.kernels import make_stack, why_not_compiled
from charrnn.model import CharRNN, ModelConfig, weight_mask

CONFIG = ModelConfig(11, size=48, layers=2, weight_dropout=0.4)
RECURRENT = ("layers.0.hidden.weight", "layers.1.hidden.weight")


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
    return model.train()


def loss(model: CharRNN, seed: int = 5) -> Tensor:
    tokens = torch.randint(11, (4, 9), generator=torch.Generator().manual_seed(1))
    torch.manual_seed(seed)
    return model.loss(tokens, tokens.flip(1))[0]


def test_it_trains_the_network_whose_other_weights_are_zero(kernel: str) -> None:
    model, plain = network(kernel), network("reference", ModelConfig(11, size=48, layers=2))
    torch.manual_seed(5)
    masks = {name: weight_mask(torch.empty(192, 48), 0.4) for name in RECURRENT}
    with torch.no_grad():
        for name, mask in masks.items():
            plain.get_parameter(name).mul_(mask)
    found, expected = loss(model), loss(plain)
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


def test_the_next_window_drops_others(kernel: str) -> None:
    model = network(kernel)
    assert loss(model, 5).item() != loss(model, 6).item()


def test_nothing_is_dropped_in_evaluation(kernel: str) -> None:
    plain = network(kernel, ModelConfig(11, size=48, layers=2))
    assert loss(network(kernel).eval()).item() == loss(plain.eval()).item()
