"""The choice of kernel, precision and threads: what is measured, what is kept, and that it is taken up again."""

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from charrnn.errors import DeviceError
from charrnn.network import autotune
from charrnn.network.autotune import Choice, Measurement, Shape, Timing, choose, fastest, load_cached, save_cached
from charrnn.network.model import ModelConfig

CONFIG = ModelConfig(5, hidden_size=8, num_layers=1)
SHAPE = Shape(CONFIG, 2, 3)


def timings(table: dict[tuple[str, str, int], tuple[float, float]]) -> Callable[[Shape, Choice], Timing]:
    """A measurement that gives (wall, CPU) from a table."""
    return lambda _shape, choice: Timing(*table[choice.kernel, choice.precision, choice.threads])


def options(*names: tuple[str, str, int]) -> list[Choice]:
    return [Choice(*name) for name in names]


TABLE = {
    ("compiled", "bf16", 2): (5.0, 9.0),
    ("compiled", "bf16", 1): (8.0, 8.0),
    ("compiled", "fp32", 2): (9.0, 17.0),
    ("compiled", "fp32", 1): (16.0, 16.0),
    ("pytorch", "bf16", 2): (12.0, 20.0),
    ("pytorch", "bf16", 1): (18.0, 18.0),
}


def test_the_fastest_is_chosen() -> None:
    chosen = fastest(SHAPE, options(*TABLE), timings(TABLE))
    assert chosen == Choice("compiled", "bf16", 2, 5.0)


def test_a_second_thread_that_does_not_help_is_not_taken() -> None:
    table = {**TABLE, ("compiled", "bf16", 2): (30.0, 16.0)}
    assert fastest(SHAPE, options(*table), timings(table)) == Choice("compiled", "bf16", 1, 8.0)


def test_a_busy_moment_does_not_decide_about_the_kernel() -> None:
    """Beside another load the clock runs on while nothing is computed: the CPU time is that of an idle machine."""
    table = {**TABLE, ("compiled", "bf16", 1): (80.0, 8.0), ("compiled", "bf16", 2): (90.0, 9.0)}
    chosen = fastest(SHAPE, options(*table), timings(table))
    assert (chosen.kernel, chosen.precision) == ("compiled", "bf16")


@pytest.mark.parametrize(("cpu_of_two", "threads"), [(9.0, 2), (18.0, 1)])
def test_nor_about_threads(cpu_of_two: float, threads: int) -> None:
    """The clock of a busy machine favours one thread here; what two of them compute says whether they are faster."""
    table = {**TABLE, ("compiled", "bf16", 1): (11.0, 8.0), ("compiled", "bf16", 2): (15.0, cpu_of_two)}
    assert fastest(SHAPE, options(*table), timings(table)).threads == threads


def test_pytorch_s_threads_are_judged_by_the_clock_on_a_busy_machine_too() -> None:
    table = {("pytorch", "fp32", 2): (90.0, 20.0), ("pytorch", "fp32", 1): (30.0, 16.0)}
    assert fastest(SHAPE, options(*table), timings(table)).threads == 1


def test_disturbed_rounds_are_outvoted_by_the_best_one() -> None:
    calls: dict[Choice, int] = {}

    def measure(_shape: Shape, choice: Choice) -> Timing:
        calls[choice] = calls.get(choice, 0) + 1
        wall, cpu = TABLE[choice.kernel, choice.precision, choice.threads]
        slow = 40.0 if (calls[choice] + choice.threads) % 2 else 1.0
        return Timing(wall * slow, cpu)

    assert fastest(SHAPE, options(*TABLE), measure) == Choice("compiled", "bf16", 2, 5.0)


def test_what_cannot_be_done_is_not_chosen() -> None:
    nothing = (float("inf"), float("inf"))
    table = {name: nothing if name[0] == "compiled" else taken for name, taken in TABLE.items()}
    assert fastest(SHAPE, options(*table), timings(table)).kernel == "pytorch"


def test_a_precision_that_nothing_has_is_refused(tmp_path: Path) -> None:
    def measure(_shape: Shape, _choice: Choice) -> Timing:
        return Timing(float("inf"), float("inf"))

    with pytest.raises(DeviceError, match="--precision bf16: this CPU cannot"):
        choose(CONFIG, batch=2, steps=3, precision="bf16", measure=measure, caches=[tmp_path / "choices.json"])
    assert not (tmp_path / "choices.json").exists()


def test_slow_candidates_are_not_repeated() -> None:
    calls: list[Choice] = []

    def measure(_shape: Shape, choice: Choice) -> Timing:
        calls.append(choice)
        seconds = 100.0 if choice.kernel == "pytorch" else 1.0
        return Timing(seconds, seconds)

    fastest(SHAPE, options(("compiled", "fp32", 1), ("compiled", "bf16", 1), ("pytorch", "fp32", 1)), measure)
    assert sum(choice.kernel == "pytorch" for choice in calls) == 2


def test_thread_counts_stay_within_what_is_allowed() -> None:
    assert autotune.thread_counts(1) == [1]
    assert autotune.thread_counts(2) == [2, 1]
    assert autotune.thread_counts(6) == [6, 4, 2, 1]
    assert autotune.thread_counts(8) == [8, 4, 2, 1]


def test_what_was_asked_for_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autotune, "allowed_cpus", lambda: 4)
    assert {choice.precision for choice in autotune.candidates("fp32")} == {"fp32"}
    assert {choice.threads for choice in autotune.candidates("auto", 3)} == {3}
    assert max(choice.threads for choice in autotune.candidates()) == 4


def test_a_choice_is_measured_once(tmp_path: Path) -> None:
    caches = [tmp_path / "installed" / "choices.json", tmp_path / "own" / "choices.json"]
    seen: list[Choice] = []

    def measure(_shape: Shape, choice: Choice) -> Timing:
        seen.append(choice)
        return Timing(1.0 * choice.threads, 1.0)

    first = choose(CONFIG, batch=2, steps=3, measure=measure, caches=caches)
    count = len(seen)
    assert count
    assert choose(CONFIG, batch=2, steps=3, measure=measure, caches=caches) == first
    assert len(seen) == count
    choose(CONFIG, batch=2, steps=4, measure=measure, caches=caches)
    assert len(seen) > count
    assert list(json.loads(caches[1].read_text())) == [autotune.machine()]
    assert not caches[0].exists()


def test_another_machine_s_choice_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "choices.json"
    assert save_cached(SHAPE, "auto-0", Choice("reference", "fp32", 7), [cache]) == cache
    assert load_cached(SHAPE, "auto-0", [cache]) == Choice("reference", "fp32", 7)
    assert load_cached(SHAPE, "fp32-0", [cache]) is None
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert load_cached(SHAPE, "auto-0", [cache]) is None
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA")
    monkeypatch.setattr(autotune, "allowed_cpus", lambda: 999)
    assert load_cached(SHAPE, "auto-0", [cache]) is None


@pytest.mark.parametrize("content", ["", "[]", "{", '{"x": 1}', "\0\xff"])
def test_a_damaged_file_counts_as_none(tmp_path: Path, content: str) -> None:
    cache = tmp_path / "choices.json"
    cache.write_text(content)
    assert load_cached(SHAPE, "auto-0", [cache]) is None
    save_cached(SHAPE, "auto-0", Choice("pytorch", "fp32", 1), [cache])
    assert load_cached(SHAPE, "auto-0", [cache]) == Choice("pytorch", "fp32", 1)


def test_another_version_s_entry_counts_as_none(tmp_path: Path) -> None:
    cache = tmp_path / "choices.json"
    entry = {autotune.machine(): {SHAPE.name: {"auto-0": {"kernel": "compiled", "new_field": 1}}}}
    cache.write_text(json.dumps(entry))
    assert load_cached(SHAPE, "auto-0", [cache]) is None


def test_what_cannot_be_kept_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert save_cached(SHAPE, "auto-0", Choice("pytorch", "fp32", 1), [tmp_path / "file" / "choices.json"]) is None


def test_many_writers_lose_nothing(tmp_path: Path) -> None:
    cache = tmp_path / "choices.json"
    shapes = [Shape(CONFIG, batch, 3) for batch in range(1, 13)]
    writers = [
        threading.Thread(target=save_cached, args=(shape, "auto-0", Choice("pytorch", "fp32", 1), [cache]))
        for shape in shapes
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert all(load_cached(shape, "auto-0", [cache]) for shape in shapes)


def test_shapes_that_differ_in_speed_have_names_of_their_own() -> None:
    configs = [
        CONFIG,
        ModelConfig(5, "gru", 8, 1),
        ModelConfig(5, "gru", 8, 1, reset_after=True),
        ModelConfig(5, "rnn", 8, 1),
        ModelConfig(5, hidden_size=8, num_layers=1, dropout=0.5),
        ModelConfig(5, hidden_size=8, num_layers=1, dropout=0.5, locked_dropout=True),
        ModelConfig(5, hidden_size=8, num_layers=1, weight_dropout=0.5),
        ModelConfig(5, hidden_size=8, num_layers=1, embedding_dim=4),
        ModelConfig(5, hidden_size=8, num_layers=1, batchnorm=True),
        ModelConfig(6, hidden_size=8, num_layers=1),
    ]
    names = {Shape(config, batch, steps).name for config in configs for batch in (1, 2) for steps in (3, 4)}
    assert len(names) == 4 * len(configs)


def test_measuring_leaves_no_trace() -> None:
    threads, random = torch.get_num_threads(), torch.get_rng_state()
    taken = Measurement()(
        Shape(ModelConfig(5, hidden_size=8, num_layers=1, dropout=0.5), 2, 3), Choice("pytorch", "fp32", 1)
    )
    assert 0 < taken.wall < float("inf")
    assert taken.cpu >= 0
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), random)


def test_a_kernel_that_fails_is_infinitely_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no such instruction")

    monkeypatch.setattr(autotune, "make_stack", fail)
    assert Measurement()(SHAPE, Choice("pytorch", "bf16", 1)).wall == float("inf")


@pytest.mark.parametrize("batchnorm", [False, True])
def test_a_network_that_can_be_trained_here_is_possible(batchnorm: bool) -> None:
    """Batch normalisation takes no batch of a single character: such a run could not be resumed."""
    config = ModelConfig(5, hidden_size=8, num_layers=1, batchnorm=batchnorm)
    assert autotune.possible(config, Choice("pytorch", "fp32", 1))


def test_a_gpu_without_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: (7, 5))
    assert choose(CONFIG, batch=1, steps=1, device="cuda") == Choice("pytorch", "fp32", 1)
    with pytest.raises(DeviceError, match="no bfloat16"):
        choose(CONFIG, batch=1, steps=1, device="cuda", precision="bf16")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: (8, 0))
    assert choose(CONFIG, batch=1, steps=1, device="cuda").precision == "bf16"


def test_pytorch_s_threads_beside_the_compiled_kernel() -> None:
    assert autotune.pytorch_threads(Choice("compiled", "bf16", 4), 240_000) == 1
    assert autotune.pytorch_threads(Choice("compiled", "bf16", 4), 3_000_000) == 4
    assert autotune.pytorch_threads(Choice("pytorch", "bf16", 4), 240_000) == 4
