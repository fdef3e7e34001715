"""Sampling: the fast way equals the model, a seed's text is the same alone and among others, and the choices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from charrnn.checkpoints.checkpoint import Checkpoint
from charrnn.data.vocabulary import Vocabulary
from charrnn.errors import CharRNNError, UsageError
from charrnn.network import inference
from charrnn.network.blas import one_thread
from charrnn.network.inference import BATCH_SIZES, Batch, ModelDecoder, Network, prepare, rounds_alike
from charrnn.network.kernels import why_not_compiled
from charrnn.network.model import CharRNN, ModelConfig
from charrnn.sampling.generation import Sampler, SamplingConfig, encode_prime, generate, sample

SHAPES = [
    {"cell": "lstm", "num_layers": 1, "hidden_size": 32},
    {"cell": "lstm", "num_layers": 3, "hidden_size": 50, "embedding_dim": 9, "batchnorm": True, "hidden_bias": False},
    {"cell": "lstm", "num_layers": 2, "hidden_size": 400},
    {"cell": "gru", "num_layers": 2, "hidden_size": 33},
    {"cell": "gru", "num_layers": 3, "hidden_size": 21, "reset_after": True, "embedding_dim": 5, "batchnorm": True},
    {"cell": "rnn", "num_layers": 1, "hidden_size": 21},
    {"cell": "rnn", "num_layers": 3, "hidden_size": 40, "batchnorm": True},
]


def network(shape: dict[str, object], dtype: torch.dtype = torch.float32, symbols: int = 21) -> CharRNN:
    model = CharRNN(ModelConfig(vocabulary_size=symbols, **shape)).to(dtype)  # type: ignore[arg-type] # from the table
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in model.tensors().items():
            if not shape.get("hidden_bias", True) and name.endswith("hidden.bias"):
                continue
            tensor.uniform_(-0.4, 0.4, generator=random)
            if name.endswith("variance"):
                tensor.add_(1)
    return model.eval()


def arrays(model: CharRNN) -> dict[str, Any]:
    return {name: tensor.detach().numpy() for name, tensor in model.tensors().items()}


def vocabulary(symbols: int = 21) -> Vocabulary:
    return Vocabulary("characters", tuple(map(chr, range(97, 97 + symbols))))


@pytest.mark.parametrize("shape", SHAPES)
def test_inference_equals_the_model(shape: dict[str, object]) -> None:
    """In float64, to 1e-11: only then are the two the same formulas and not merely alike."""
    model = network(shape, torch.float64)
    batch, reference = Batch(prepare(model), 4), ModelDecoder(model, 4)
    assert batch.network.dtype == np.float64
    random = np.random.default_rng(2)
    for number in range(40):
        if number % 10 == 9:
            for decoder in (batch, reference):
                decoder.reset_state(np.array([number == 9, False, True, False]))
        symbols = random.integers(21, size=4)
        np.testing.assert_allclose(batch.step(symbols), reference.step(symbols), rtol=0, atol=1e-11)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_network_in_float32_is_run_in_float32_or_better(shape: dict[str, object]) -> None:
    model = network(shape)
    prepared = prepare(model)
    with one_thread():
        alike = rounds_alike(Network(model.config, arrays(model), np.float32))
    assert prepared.dtype == (np.float32 if alike else np.float64)
    reference = ModelDecoder(model, 2)
    batch = Batch(prepared, 2)
    for symbol in range(20):
        symbols = np.full(2, symbol)
        np.testing.assert_allclose(batch.step(symbols), reference.step(symbols), rtol=0, atol=1e-3)


@pytest.fixture(params=["compiled", "numpy"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What steps the streams."""
    if request.param == "numpy":
        monkeypatch.setenv("CHARRNN_COMPILED", "0")
    elif (reason := why_not_compiled()) is not None:
        pytest.skip(reason)
    return str(request.param)


@pytest.fixture
def numpy_s_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARRNN_COMPILED", "0")


def text_of(model: CharRNN, **settings: object) -> list[str]:
    pieces = list(generate(model, vocabulary(), **settings))  # type: ignore[arg-type] # from the tests' own settings
    return ["".join(parts) for parts in zip(*pieces, strict=True)]


CHOICES = [
    SamplingConfig(),
    SamplingConfig(temperature=0.3),
    SamplingConfig(argmax=True),
    SamplingConfig(top_k=4),
    SamplingConfig(top_p=0.6, temperature=1.5),
    SamplingConfig(top_k=7, top_p=0.9),
]


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("shape", [SHAPES[0], SHAPES[1], SHAPES[3]])
def test_a_stream_s_text_is_the_same_alone_and_among_others(
    shape: dict[str, object], choice: SamplingConfig, way: str
) -> None:
    model = network(shape)
    many = text_of(model, count=37, length=120, seed=7, prime="abc", choice=choice)
    few = text_of(model, count=3, length=120, seed=7, prime="abc", choice=choice)
    assert many[:3] == few
    for number in (0, 1, 31, 32, 36):
        assert text_of(model, length=120, seed=7 + number, prime="abc", choice=choice) == [many[number]]


SEPARATOR = "ab"
"""Often written by a network that knows but two symbols."""


def by_hand(model: CharRNN, choice: SamplingConfig, seed: int, length: int, prime: str) -> str:
    """The text of one stream by the model itself, whose state is zeroed before the symbol behind each separator."""
    random, known, state, resets = np.random.default_rng(seed), vocabulary(2), None, 0
    text, logits = "", torch.zeros(1, model.config.vocabulary_size)
    for place in range(len(prime) + length):
        if place < len(prime):
            symbol = int(known.encode(prime[place])[0])
        else:
            symbol = int(choice.choose(logits.numpy(), random.random(1))[0])
        if text.endswith(SEPARATOR):
            state, resets = None, resets + 1
        text += known.symbols[symbol]
        with torch.inference_mode():
            logits, state = model(torch.tensor([[symbol]]), state)
        logits = logits[:, 0]
    assert resets > 3
    return text[len(prime) :]


@pytest.mark.parametrize("choice", [SamplingConfig(temperature=0.5), SamplingConfig(top_k=2)])
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_a_record_begins_with_a_zero_state_as_in_training(cell: str, choice: SamplingConfig, way: str) -> None:
    model = CharRNN(ModelConfig(vocabulary_size=2, cell=cell, hidden_size=32, num_layers=2)).eval()
    for parameter in model.parameters():
        parameter.data.uniform_(-0.6, 0.6, generator=torch.Generator().manual_seed(parameter.numel()))
    settings = {"length": 120, "prime": "aabb", "choice": choice, "reset_state_on": SEPARATOR}
    known = vocabulary(2)
    expected = [by_hand(model, choice, seed, 120, "aabb") for seed in (7, 43)]
    many = ["".join(parts) for parts in zip(*generate(model, known, count=37, seed=7, **settings), strict=True)]  # type: ignore[arg-type] # as above
    assert [many[0], many[36]] == expected
    alone = ["".join(parts) for parts in zip(*generate(model, known, seed=43, **settings), strict=True)]  # type: ignore[arg-type] # as above
    assert alone == expected[1:]
    carried = generate(model, known, seed=7, **{**settings, "reset_state_on": None})  # type: ignore[arg-type] # as above
    assert "".join(piece for (piece,) in carried) != expected[0]


@pytest.mark.usefixtures("numpy_s_way")
def test_wide_layers_round_alike_too() -> None:
    """Beyond 384 inputs BLAS sums in pieces, for some numbers of rows and not for others, unless we do first."""
    model = network(SHAPES[2])
    many = text_of(model, count=35, length=12, seed=7)
    assert text_of(model, length=12, seed=7 + 33) == [many[33]]


def test_threads_change_nothing(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    model = network(SHAPES[0])
    monkeypatch.setattr("charrnn.sampling.generation.allowed_cpus", lambda: 1)
    monkeypatch.setattr("charrnn.sampling.generation._threads", lambda count: 1)
    one = text_of(model, count=40, length=60)
    monkeypatch.setattr("charrnn.sampling.generation.allowed_cpus", lambda: 3)
    monkeypatch.setattr("charrnn.sampling.generation._threads", lambda count: 3)
    assert text_of(model, count=40, length=60) == one


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("shape", [SHAPES[0], SHAPES[1], SHAPES[3], SHAPES[4], SHAPES[6]])
def test_the_compiled_way_writes_numpy_s_text(
    shape: dict[str, object], choice: SamplingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rounding differs between the two, and may decide one choice in a million."""
    if (reason := why_not_compiled()) is not None:
        pytest.skip(reason)
    model = network(shape)
    text = text_of(model, count=20, length=200, seed=11, prime="ab", choice=choice)
    monkeypatch.setenv("CHARRNN_COMPILED", "0")
    assert text_of(model, count=20, length=200, seed=11, prime="ab", choice=choice) == text


@pytest.mark.usefixtures("numpy_s_way")
def test_where_batches_round_differently_float64_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network(SHAPES[0])
    expected = text_of(model, length=200, seed=3, choice=SamplingConfig(argmax=True))
    monkeypatch.setattr(inference, "rounds_alike", lambda network: False)
    assert prepare(model).dtype == np.float64
    assert text_of(model, length=200, seed=3, choice=SamplingConfig(argmax=True)) == expected
    many = text_of(model, count=40, length=200, seed=3)
    assert text_of(model, length=200, seed=42) == [many[39]]


def test_rounding_that_differs_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network(SHAPES[0])
    prepared = Network(model.config, arrays(model), np.float64)
    true_step = Batch.step

    def step(self: Batch, symbols: np.ndarray) -> np.ndarray:
        logits = true_step(self, symbols)
        if self.streams == BATCH_SIZES[2]:
            logits[1, 3] = np.nextafter(logits[1, 3], np.inf)
        return logits

    monkeypatch.setattr(Batch, "step", step)
    assert not rounds_alike(prepared)


def test_argmax_follows_the_model(way: str) -> None:
    model = network(SHAPES[1])
    tokens, state, expected = vocabulary().encode("abc").tolist(), None, ""
    with torch.inference_mode():
        for token in tokens:
            logits, state = model(torch.tensor([[token]]), state)
        for _ in range(50):
            best = int(logits[0, 0].argmax())
            expected += vocabulary().symbols[best]
            logits, state = model(torch.tensor([[best]]), state)
    assert text_of(model, prime="abc", length=50, choice=SamplingConfig(argmax=True)) == [expected]
    assert text_of(model, prime="abc", length=50, choice=SamplingConfig(temperature=0)) == [expected]
    assert text_of(model, prime="abc", length=50, choice=SamplingConfig(top_k=1)) == [expected]


def test_symbols_are_drawn_with_their_probabilities() -> None:
    """A chi-squared test with a fixed seed: 20,000 draws from four weights at temperature 2."""
    logits = np.repeat(np.log([[0.1, 0.2, 0.3, 0.4]]), 20_000, axis=0)
    drawn = SamplingConfig(temperature=2).choose(logits, np.random.default_rng(0).random(20_000))
    expected = np.sqrt([0.1, 0.2, 0.3, 0.4]) / np.sqrt([0.1, 0.2, 0.3, 0.4]).sum() * 20_000
    counts = np.bincount(drawn, minlength=4)
    assert ((counts - expected) ** 2 / expected).sum() < 16.27  # p = 0.001 with three degrees of freedom


def test_top_k_and_top_p_keep_the_likeliest() -> None:
    logits = np.log([[0.05, 0.4, 0.05, 0.3, 0.2]])

    def kept(choice: SamplingConfig) -> list[int]:
        sums = np.diff(choice.cumulative(logits.copy())[0], prepend=0)
        return np.flatnonzero(sums > 0).tolist()

    assert kept(SamplingConfig(top_k=2)) == [1, 3]
    assert kept(SamplingConfig(top_k=4)) == [0, 1, 3, 4]  # of the two equal ones, the first
    assert kept(SamplingConfig(top_k=99)) == [0, 1, 2, 3, 4]
    assert kept(SamplingConfig(top_p=0.5)) == [1, 3]
    assert kept(SamplingConfig(top_p=0.39)) == [1]
    assert kept(SamplingConfig(top_p=1e-9)) == [1]
    assert kept(SamplingConfig(top_k=3, top_p=0.6)) == [1, 3]


def test_the_last_symbol_is_the_last() -> None:
    almost_one = np.array([math.nextafter(1, 0)])
    assert SamplingConfig().choose(np.zeros((1, 3)), almost_one).tolist() == [2]


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": -1},
        {"temperature": math.nan},
        {"temperature": math.inf},
        {"top_k": -1},
        {"top_p": 0},
        {"top_p": 1.1},
    ],
)
def test_a_choice_that_makes_no_sense_is_refused(settings: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        SamplingConfig(**settings)  # type: ignore[arg-type] # wrong on purpose


@pytest.mark.parametrize("settings", [{"count": 0}, {"length": -1}, {"seed": -1}])
def test_other_settings_that_make_no_sense_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        text_of(network(SHAPES[0]), **settings)


def test_unknown_characters_of_the_prime() -> None:
    said: list[str] = []
    assert encode_prime(vocabulary(), "aXbX", report=said.append).tolist() == [0, 1]
    assert said == ["the network does not know the character 'X' (U+0058): skipped in the prime"]
    with pytest.raises(UsageError, match="which the prime contains"):
        encode_prime(vocabulary(), "aX", strict=True)


def test_without_a_prime_the_first_symbol_is_uniform(way: str) -> None:
    model = network(SHAPES[0])
    firsts = set(text_of(model, count=64, length=1))
    assert len(firsts) > 12
    assert text_of(model, length=3, choice=SamplingConfig(argmax=True))[0][0] == "a"


def test_pieces_grow_and_add_up() -> None:
    ticks = iter(range(10_000))
    sampler = Sampler(network(SHAPES[0]), SamplingConfig(), prime=np.array([1]))
    quick = [piece.shape[1] for piece in sampler.pieces(100, clock=lambda: 0.0)]
    assert quick == [1, 2, 4, 8, 16, 32, 37]
    slow = [piece.shape[1] for piece in sampler.pieces(5, clock=lambda: float(next(ticks)))]
    assert slow == [1] * 5


def test_a_network_that_diverged_says_so(way: str) -> None:
    model = network(SHAPES[0])
    with torch.no_grad():
        model.decoder.bias[0] = math.nan
    with pytest.raises(CharRNNError, match="diverged"):
        text_of(model, length=10)


def test_the_library_s_sample() -> None:
    model = network(SHAPES[0])
    checkpoint = Checkpoint(model.config, vocabulary(), {n: t.detach() for n, t in model.tensors().items()})
    text = sample(checkpoint, prime="abc", length=20, seed=4)
    assert text == "abc" + text_of(model, prime="abc", length=20, seed=4)[0]
    assert len(text) == 23
