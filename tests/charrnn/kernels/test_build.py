"""Compiling: found again, keyed by what matters, built once by many, and never a reason to fail."""

import os
import platform
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from charrnn.data.vocabulary import Vocabulary
from charrnn.network.inference import Batch, Network
from charrnn.network.kernels import build, compiled
from charrnn.network.kernels.build import CompileError, find_compiler, folders, instruction_set, key, library
from charrnn.network.kernels.streams import CompiledNetwork, CompiledStreams
from charrnn.network.model import CharRNN, ModelConfig
from charrnn.sampling.generation import generate


def compiler_script(folder: Path, body: str) -> dict[str, str]:
    """An environment whose C compiler is a shell script, and whose cache is empty."""
    script = folder / "compiler"
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return {"CC": str(script), "CHARRNN_CACHE": str(folder / "cache")}


@pytest.fixture(autouse=True)
def no_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "nowhere" / "below-a-file"))
    (tmp_path / "nowhere").write_text("")  # so nothing can be made there, not even by root


WRITES = """
while [ "$1" != -o ]; do shift; done
echo "$$" >> "$(dirname "$0")/calls"
echo built > "$2"
"""


def test_is_compiled_once_and_found_again(tmp_path: Path) -> None:
    environment = compiler_script(tmp_path, WRITES)
    first = library(environment)
    assert first.read_text() == "built\n"
    assert first.parent == tmp_path / "cache" / "kernels"
    assert library(environment) == first
    assert len((tmp_path / "calls").read_text().split()) == 1
    assert [path.name for path in first.parent.iterdir() if path.suffix != ".lock"] == [first.name]


def test_many_at_once_compile_once(tmp_path: Path) -> None:
    environment = compiler_script(tmp_path, WRITES)
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(library(environment))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert len(found) == 8
    assert len((tmp_path / "calls").read_text().split()) == 1


def test_the_installation_s_library_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = compiler_script(tmp_path, WRITES)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "installed"))
    assert library(environment).parent == tmp_path / "installed" / "share" / "charrnn" / "kernels"
    assert folders(environment)[1] == tmp_path / "cache" / "kernels"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("echo 'x.c:1: error: no such instruction' >&2; exit 1", "no such instruction"),
        ("exit 3", "failed"),
        ("true", "kernels.so"),  # says nothing and makes nothing
    ],
)
def test_a_compiler_that_fails_is_quoted(tmp_path: Path, body: str, said: str) -> None:
    with pytest.raises(CompileError, match=said):
        library(compiler_script(tmp_path, body))
    assert not list((tmp_path / "cache" / "kernels").glob("*.so"))
    assert not list((tmp_path / "cache" / "kernels").glob(".build*"))


def test_no_compiler_and_switched_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CompileError, match="no C compiler here \\(gcc, cc, clang\\)"):
        find_compiler({})
    with pytest.raises(CompileError, match="no C compiler here \\(/no/such/cc -O\\)"):
        find_compiler({"CC": "/no/such/cc -O"})
    with pytest.raises(CompileError, match="CHARRNN_COMPILED=0"):
        library({"CHARRNN_COMPILED": "0"})


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    environment = compiler_script(tmp_path, WRITES) | {"CHARRNN_CACHE": str(tmp_path / "nowhere" / "cache")}
    with pytest.raises(CompileError, match="could not be compiled"):
        library(environment)


def test_the_key_follows_compiler_sources_and_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("1")
    other.write_text("22")
    keys = {key([str(one)]), key([str(other)]), key([str(one), "-m32"])}
    assert key([str(one)]) in keys
    monkeypatch.setattr(build, "instruction_set", lambda: "another CPU")
    keys.add(key([str(one)]))
    sources = tmp_path / "sources"
    sources.mkdir()
    (sources / "kernels.c").write_text("int x;")
    monkeypatch.setattr(build, "SOURCES", sources)
    keys.add(key([str(one)]))
    assert len(keys) == 5


def test_the_instruction_set_is_that_of_the_first_cpu(tmp_path: Path) -> None:
    listing = tmp_path / "cpuinfo"
    cpu = "processor\t: {}\nmodel name\t: A CPU\ncpu MHz\t\t: {}\nflags\t\t: sse avx\n"
    listing.write_text(cpu.format(0, 2000) + "\n" + cpu.format(1, 3000))
    first = instruction_set(listing)
    assert first == "model name\t: A CPU\nflags\t\t: sse avx"
    listing.write_text(cpu.format(0, 1234))
    assert instruction_set(listing) == first
    assert instruction_set(tmp_path / "missing") == ""


def test_training_goes_on_without_compiled_kernels(tmp_path: Path) -> None:
    """In a process of its own: what is loaded is asked once a process."""
    program = (
        "import charrnn, pathlib\n"
        "pathlib.Path('text').write_text('to be or not to be, ' * 200)\n"
        "charrnn.train('text', iterations=2, batch_size=4, seq_length=10, rnn_size=8, checkpoint_dir='cv')\n"
        "from charrnn.network.kernels import why_not_compiled\n"
        "print(why_not_compiled())\n"
    )
    environment = {**os.environ, "CHARRNN_COMPILED": "0", "CHARRNN_CACHE": str(tmp_path / "cache")}
    environment["XDG_STATE_HOME"] = environment["XDG_CACHE_HOME"] = str(tmp_path / "state")
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "CHARRNN_COMPILED=0" in done.stdout


@pytest.mark.parametrize(
    ("level", "needs"), [("x86-64-v2", "sse4_2"), ("x86-64-v3", "avx2"), ("x86-64-v4", "avx512bw")]
)
def test_other_instruction_sets_give_the_same_numbers(tmp_path: Path, level: str, needs: str) -> None:
    """The code for vectors of 4, 8 and 16 floats, each compiled for real and compared with the reference."""
    if platform.machine() != "x86_64" or needs not in instruction_set().split():
        pytest.skip(f"this CPU has no {needs}")
    try:
        compiler = find_compiler({})
    except CompileError as error:
        pytest.skip(str(error))
    made = compiled.load(build.compile_into(tmp_path, [*compiler, f"-march={level}"]))
    assert not made.bf16
    assert made.granule == {"sse4_2": 8, "avx2": 16, "avx512bw": 32}[needs]
    compiled.verify(made)
    _compare_sampling(made)


def _compare_sampling(made: compiled.Library) -> None:
    """NumPy's logits, and a stream's bits alone and among others."""
    for config in (
        ModelConfig(21, "lstm", hidden_size=33, num_layers=2),
        ModelConfig(21, "gru", hidden_size=33, num_layers=2),
    ):
        model = CharRNN(config)
        parameters = {name: np.random.default_rng(0).uniform(-0.4, 0.4, t.shape) for name, t in model.tensors().items()}
        network = Network(config, parameters, np.float32, made.granule)
        packed = CompiledNetwork(network, made)
        many, alone, reference = CompiledStreams(packed, 32), CompiledStreams(packed, 1), Batch(network, 32)
        for symbol in range(21):
            logits = many.step(np.full(32, symbol))
            np.testing.assert_allclose(logits, reference.step(np.full(32, symbol)), rtol=0, atol=1e-4)
            assert {row.tobytes() for row in logits} == {alone.step(np.full(1, symbol))[0].tobytes()}


def test_sampling_waits_for_a_compiler_only_where_it_pays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in compiler_script(tmp_path, WRITES).items():  # what it makes is no library: NumPy has to do
        monkeypatch.setenv(name, value)
    compiled.loaded.cache_clear()
    model = CharRNN(ModelConfig(3, hidden_size=4)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(0.1)
    vocabulary = Vocabulary("characters", ("a", "b", "c"))
    expected = list(generate(model, vocabulary, length=30))
    assert not (tmp_path / "calls").exists()
    monkeypatch.setattr("charrnn.sampling.generation._LARGE", 30)
    assert list(generate(model, vocabulary, length=30)) == expected
    assert (tmp_path / "calls").exists()
    compiled.loaded.cache_clear()
