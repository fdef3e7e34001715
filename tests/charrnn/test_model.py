"""The network against formulas written apart from it, against PyTorch's own, and its gradients."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from charrnn.errors import CheckpointError, UsageError
from charrnn.network import cells
from charrnn.network.initialisation import initialise
from charrnn.network.model import CharRNN, ModelConfig
from tests.charrnn import reference

CELLS = [("lstm", False), ("gru", False), ("gru", True), ("rnn", False)]


@pytest.mark.parametrize("reset_after", [False, True])
@pytest.mark.parametrize("name", cells.CELLS)
def test_a_cell_s_description_knows_all_its_gates(name: str, reset_after: bool) -> None:
    cell = cells.CELLS[name].variant(reset_after)
    assert (name, reset_after and cell.name.startswith("gru")) in CELLS  # the tests here go over all cells
    assert sorted(cell.factors) == sorted(cell.gates)
    assert sorted([*(cell.own or cell.factors), *cell.candidate]) == sorted(cell.gates)
    for side in ("input", "hidden"):
        assert sorted("".join(gates for one, gates in cell.drawn if one == side)) == sorted(cell.gates)


def random_model(**config: Any) -> CharRNN:
    torch.manual_seed(7)
    model = CharRNN(ModelConfig(**config)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(-0.7, 0.7)
    return model.eval()


def arrays(model: CharRNN) -> dict[str, Any]:
    return {name: tensor.detach().numpy() for name, tensor in model.tensors().items()}


@pytest.mark.parametrize(("cell", "reset_after"), CELLS)
@pytest.mark.parametrize("embedding", [0, 5])
def test_cells_equal_their_formulas(cell: str, reset_after: bool, embedding: int) -> None:
    model = random_model(
        vocabulary_size=11, cell=cell, hidden_size=9, num_layers=3, reset_after=reset_after, embedding_dim=embedding
    )
    tokens = torch.randint(11, (4, 13))
    resets = torch.zeros(4, 13, dtype=torch.bool)
    resets[1, 5] = resets[2, 0] = True
    logits, state = model(tokens, None, resets)
    for row in range(4):
        expected, h, c = reference.logits(
            arrays(model), tokens[row].tolist(), cell=cell, reset_after=reset_after, layers=3, size=9, symbols=11,
            resets=set(resets[row].nonzero().flatten().tolist()),
        )  # fmt: skip
        assert np.abs(logits[row].detach().numpy() - expected).max() < 1e-10
        assert np.abs(state[0][:, row].detach().numpy() - np.stack(h)).max() < 1e-10
        if cell == "lstm":
            assert np.abs(state[1][:, row].detach().numpy() - np.stack(c)).max() < 1e-10


@pytest.mark.parametrize(("cell", "reset_after"), [pair for pair in CELLS if pair != ("gru", False)])
def test_cells_equal_those_of_pytorch(cell: str, reset_after: bool) -> None:
    model = random_model(
        vocabulary_size=11, cell=cell, hidden_size=9, num_layers=2, reset_after=reset_after, embedding_dim=5
    )
    theirs = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[cell](5, 9, 2, batch_first=True).double()
    with torch.no_grad():
        for layer in range(2):
            for ours, name in (("input", "ih"), ("hidden", "hh")):
                for part in ("weight", "bias"):
                    values = model.get_parameter(f"layers.{layer}.{ours}.{part}")
                    theirs.get_parameter(f"{part}_{name}_l{layer}").copy_(values)
    tokens = torch.randint(11, (4, 13))
    outputs, _ = model.hidden(tokens, model.initial_state(4))
    expected, _ = theirs(model.get_parameter("embedding.weight")[tokens])
    assert (outputs - expected).abs().max() < 1e-12


@pytest.mark.parametrize(("cell", "reset_after"), CELLS)
@pytest.mark.parametrize(("embedding", "batchnorm"), [(0, False), (3, True)])
def test_gradients(cell: str, reset_after: bool, embedding: int, batchnorm: bool) -> None:
    model = random_model(
        vocabulary_size=4,
        cell=cell,
        hidden_size=3,
        num_layers=2,
        reset_after=reset_after,
        embedding_dim=embedding,
        batchnorm=batchnorm,
    )
    tokens = torch.randint(4, (2, 5))
    resets = torch.zeros(2, 5, dtype=torch.bool)
    resets[0, 2] = True
    names = [name for name, _ in model.named_parameters()]
    state = tuple(torch.randn_like(part).requires_grad_() for part in model.initial_state(2))

    def run(*values: Tensor) -> tuple[Tensor, ...]:
        parameters = dict(zip(names, values[len(state) :], strict=True))
        logits, after = torch.func.functional_call(model, parameters, (tokens, values[: len(state)], resets))
        return logits, *after

    inputs = [*state, *(parameter.detach().clone().requires_grad_() for parameter in model.parameters())]
    assert torch.autograd.gradcheck(run, inputs)


@pytest.mark.parametrize(("cell", "reset_after"), CELLS)
def test_one_window_equals_two_with_the_state_carried(cell: str, reset_after: bool) -> None:
    model = random_model(vocabulary_size=7, cell=cell, hidden_size=6, num_layers=2, reset_after=reset_after)
    tokens = torch.randint(7, (3, 12))
    whole, end = model(tokens)
    first, state = model(tokens[:, :5])
    second, carried = model(tokens[:, 5:], state)
    assert torch.allclose(whole, torch.cat([first, second], 1), atol=1e-12)
    assert all(torch.allclose(one, other, atol=1e-12) for one, other in zip(end, carried, strict=True))


def test_the_originals_parameter_counts() -> None:
    # char-rnn's own log for 65 symbols and 2 layers of 128, and torch-rnn's.
    counts = {cell: CharRNN(ModelConfig(65, cell)).parameter_count() for cell in ("lstm", "gru", "rnn")}
    assert counts == {"lstm": 240_321, "gru": 182_337, "rnn": 66_369}
    assert CharRNN(ModelConfig(65, hidden_size=512)).parameter_count() == 3_320_385
    assert CharRNN(ModelConfig(65, embedding_dim=64, hidden_bias=False)).parameter_count() == 242_945


def test_dropout_stands_between_layers_and_before_the_decoder_only() -> None:
    model = random_model(vocabulary_size=5, hidden_size=64, num_layers=2, dropout=0.5).train()
    tokens = torch.randint(5, (2, 3))
    outputs, state = model.hidden(tokens, model.initial_state(2))
    dropped = (outputs == 0).double().mean()
    assert 0.35 < dropped < 0.65
    assert not (state[0] == 0).any()  # the carried state is never dropped
    model.eval()
    assert not (model.hidden(tokens, model.initial_state(2))[0] == 0).any()
    torch.manual_seed(1)
    one = model.train()(tokens)[0]
    torch.manual_seed(1)
    assert torch.equal(one, model(tokens)[0])


def test_batch_normalisation_trains_on_the_batch_and_evaluates_on_running_statistics() -> None:
    model = random_model(vocabulary_size=5, hidden_size=8, num_layers=1, batchnorm=True)
    with torch.no_grad():
        model.get_parameter("layers.0.norm.weight").fill_(1)
        model.get_parameter("layers.0.norm.bias").fill_(0)
    tokens = torch.randint(5, (6, 10))
    model.train()
    outputs, _ = model.hidden(tokens, model.initial_state(6))
    assert outputs.mean((0, 1)).abs().max() < 1e-9
    assert model.get_buffer("layers.0.norm.mean").abs().sum() > 0
    model.eval()
    assert model.hidden(tokens, model.initial_state(6))[0].mean((0, 1)).abs().max() > 1e-3


@pytest.mark.parametrize("embedding", [0, 4])
@pytest.mark.parametrize("batchnorm", [False, True])
@pytest.mark.parametrize("hidden_bias", [False, True])
def test_shapes_are_those_of_the_tensors(embedding: int, batchnorm: bool, hidden_bias: bool) -> None:
    for cell in ("lstm", "gru", "rnn"):
        config = ModelConfig(7, cell, 6, 2, embedding, batchnorm=batchnorm, hidden_bias=hidden_bias)
        assert {name: tuple(t.shape) for name, t in CharRNN(config).tensors().items()} == config.shapes()


class TestInitialisation:
    def test_char_rnn(self) -> None:
        model = CharRNN(ModelConfig(65))
        initialise(model, "char-rnn")
        for name, parameter in model.named_parameters():
            values = parameter.detach()
            if name.endswith("input.bias"):
                assert torch.equal(values[128:256], torch.ones(128))  # the forget gate, input side only
                values = torch.cat([values[:128], values[256:]])
            assert values.abs().max() <= 0.08
            assert values.std() > 0.03

    def test_torch_rnn(self) -> None:
        model = CharRNN(ModelConfig(65, embedding_dim=64, hidden_bias=False))
        initialise(model, "torch-rnn")
        weight = model.get_parameter("layers.0.input.weight").detach()
        assert abs(float(weight.std()) - (64 + 128) ** -0.5) < 0.005
        bias = model.get_parameter("layers.1.input.bias").detach()
        assert torch.equal(bias[128:256], torch.ones(128))
        assert int(bias.count_nonzero()) == 128
        assert abs(float(model.get_parameter("embedding.weight").detach().std()) - 1) < 0.05

    def test_pytorch_has_orthogonal_recurrent_weights(self) -> None:
        model = CharRNN(ModelConfig(65, "gru", 32))
        initialise(model, "pytorch")
        gate = model.get_parameter("layers.0.hidden.weight").detach()[32:64]
        assert torch.allclose(gate @ gate.T, torch.eye(32), atol=1e-5)

    def test_is_repeated_by_its_seed(self) -> None:
        one, two = CharRNN(ModelConfig(9)), CharRNN(ModelConfig(9))
        for model in (one, two):
            initialise(model, "char-rnn", torch.Generator().manual_seed(3))
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


@pytest.mark.parametrize(
    "bad",
    [{"cell": "lstn"}, {"hidden_size": 0}, {"num_layers": 0}, {"vocabulary_size": 0}, {"embedding_dim": -1},
     {"dropout": 1.0}],
)  # fmt: skip
def test_a_network_that_cannot_be(bad: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        ModelConfig(**{"vocabulary_size": 5, **bad})


@pytest.mark.parametrize(
    "bad",
    [None, [], {"size": "8"}, {"size": True}, {"dropout": "x"}, {"layers": -1}, {"wings": 2}, {"cell": 3},
     {"reset": "during"}, {"reset": True}, {"reset": []}, {"reset_after": True}],
)  # fmt: skip
def test_a_description_that_is_none(bad: Any) -> None:
    value = {**ModelConfig(5).to_json(), **bad} if isinstance(bad, dict) else bad
    with pytest.raises(CheckpointError):
        ModelConfig.from_json(value)


def test_a_description_keeps_the_names_of_the_files_and_comes_back() -> None:
    config = ModelConfig(
        5, "gru", 7, 3, 2, dropout=0.25, locked_dropout=True, batchnorm=True, reset_after=True, hidden_bias=False
    )
    assert config.to_json() == {
        "vocabulary_size": 5, "cell": "gru", "size": 7, "layers": 3, "embedding": 2, "dropout": 0.25, "locked": True,
        "weight_dropout": 0.0, "batchnorm": True, "reset": "after", "hidden_bias": False,
    }  # fmt: skip
    assert ModelConfig.from_json(config.to_json()) == config
