"""Compiled sampling: NumPy's numbers in float64, the same bits for any streams and threads, and NumPy's choices."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from charrnn.network.inference import Batch, Network
from charrnn.network.kernels import streams
from charrnn.network.kernels.build import CompileError
from charrnn.network.kernels.compiled import Library, loaded
from charrnn.network.kernels.streams import CompiledNetwork, CompiledStreams, compiled_network
from charrnn.network.model import CharRNN, ModelConfig
from charrnn.sampling.generation import SamplingConfig

NETWORKS = [
    ModelConfig(21, "lstm", hidden_size=32, num_layers=1),
    ModelConfig(70, "lstm", hidden_size=50, num_layers=3, embedding_dim=9, batchnorm=True),
    ModelConfig(21, "gru", hidden_size=33, num_layers=3, batchnorm=True),
    ModelConfig(65, "gru", hidden_size=70, num_layers=2, reset_after=True, embedding_dim=5),
    ModelConfig(3, "rnn", hidden_size=21, num_layers=1),
    ModelConfig(130, "rnn", hidden_size=40, num_layers=3, batchnorm=True),
]
STREAMS = [1, 2, 5, 13, 50, 110]


@pytest.fixture(scope="module")
def library() -> Library:
    found = loaded()
    if isinstance(found, CompileError):
        pytest.skip(str(found))
    return found


def network(config: ModelConfig) -> CharRNN:
    model = CharRNN(config)
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in model.tensors().items():
            tensor.uniform_(-0.3, 0.3, generator=random)
            if name.endswith("variance"):
                tensor.add_(1)
    return model.eval()


def arranged(config: ModelConfig, dtype: Any, granule: int) -> Network:
    parameters = {name: tensor.detach().numpy() for name, tensor in network(config).tensors().items()}
    return Network(config, parameters, dtype, granule)


def drawn(made: CompiledNetwork, count: int, threads: int, length: int = 40) -> tuple[NDArray[Any], NDArray[Any]]:
    """Symbols and last logits of `count` streams, stream k by the same random numbers in every call."""
    uniform = np.stack([np.random.default_rng(seed).random(length) for seed in range(count)])
    several = CompiledStreams(made, count, threads)
    return several.draw(uniform, 0.8), several.logits


@pytest.mark.parametrize("config", NETWORKS, ids=str)
def test_logits_are_those_of_float64(config: ModelConfig, library: Library) -> None:
    made = CompiledNetwork(arranged(config, np.float32, library.granule), library)
    for count in (1, 2, 7, 32):
        compiled, reference = CompiledStreams(made, count, 2), Batch(arranged(config, np.float64, 16), 32)
        random = np.random.default_rng(count)
        for _ in range(30):
            symbols = random.integers(config.vocabulary_size, size=32)
            expected = reference.step(symbols)[:count]
            np.testing.assert_allclose(compiled.step(symbols[:count]), expected, rtol=0, atol=5e-6)


@pytest.mark.parametrize("config", NETWORKS, ids=str)
def test_a_stream_has_the_same_bits_alone_among_others_and_on_any_threads(
    config: ModelConfig, library: Library
) -> None:
    made = CompiledNetwork(arranged(config, np.float32, library.granule), library)
    chosen, logits = drawn(made, max(STREAMS), 1)
    assert len(np.unique(chosen)) > 1
    for count in STREAMS:
        for threads in (1, 2, 3):
            some, some_logits = drawn(made, count, threads)
            assert (some == chosen[:count]).all()
            assert some_logits.tobytes() == np.ascontiguousarray(logits[:count]).tobytes()


@pytest.mark.parametrize(
    "choice",
    [SamplingConfig(), SamplingConfig(temperature=0.3), SamplingConfig(temperature=7), SamplingConfig(argmax=True)],
)
def test_symbols_are_chosen_as_in_numpy(choice: SamplingConfig, library: Library) -> None:
    made = CompiledNetwork(arranged(NETWORKS[1], np.float32, library.granule), library)
    compiled = CompiledStreams(made, 9, 2)
    random = np.random.default_rng(3)
    for _ in range(200):
        uniform = random.random(9)
        uniform[:2] = 0, math.nextafter(1, 0)
        expected = choice.choose(compiled.logits, uniform)
        found = compiled.draw(uniform[:, None], 0.0 if choice.greedy else choice.temperature)[:, 0]
        assert found.tolist() == expected.tolist()


def test_the_likeliest_of_equals_is_the_first(library: Library) -> None:
    made = CompiledNetwork(arranged(NETWORKS[0], np.float32, library.granule), library)
    assert CompiledStreams(made, 2).draw(np.full((2, 1), 0.9), 0.0).tolist() == [[0], [0]]  # all logits are 0 yet


@pytest.mark.parametrize("symbol", [-1, 21])
def test_symbols_beyond_the_vocabulary_are_refused(symbol: int, library: Library) -> None:
    made = CompiledNetwork(arranged(NETWORKS[0], np.float32, library.granule), library)
    with pytest.raises(IndexError, match="not in the vocabulary of 21"):
        CompiledStreams(made, 1).step(np.array([symbol]))


def test_another_network_s_numbers_are_noticed(library: Library) -> None:
    one, other = (arranged(config, np.float32, library.granule) for config in (NETWORKS[0], NETWORKS[0]))
    assert streams._agrees(CompiledNetwork(one, library), other)
    other.decoder_bias[4] += 0.01
    assert not streams._agrees(CompiledNetwork(one, library), other)


def test_networks_in_float64_are_left_to_numpy(library: Library) -> None:
    assert compiled_network(network(NETWORKS[0])) is not None
    assert compiled_network(network(NETWORKS[0]).double()) is None


def test_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARRNN_COMPILED", "0")
    assert compiled_network(network(NETWORKS[0])) is None
