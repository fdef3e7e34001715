"""The tile unit (AMX): its emulation has its very bits, every path through it is right, and a refusal is no failure."""

import os
import subprocess
import sys
import threading
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from charrnn.network.kernels import build
from charrnn.network.kernels.build import CompileError, find_compiler
from charrnn.network.kernels.compiled import CompiledStack, Library, load, verify
from charrnn.network.model import CharRNN, ModelConfig, reference_stack

CELLS = [
    ModelConfig(7, "lstm", num_layers=2),
    ModelConfig(7, "gru", num_layers=2, reset_after=False),
    ModelConfig(7, "gru", num_layers=2, reset_after=True),
    ModelConfig(7, "rnn", num_layers=2),
]
# One tile of rows and two, odd and even batches, whole tiles; sums of less and more than a block of words.
SHAPES = [(18, 3, 4), (40, 38, 7), (33, 17, 6), (70, 33, 3), (32, 32, 9), (20, 50, 6)]


@cache
def compiled(tmp: Path, *flags: str) -> Library:
    try:
        compiler = find_compiler({})
    except CompileError as error:
        pytest.skip(str(error))
    folder = tmp / ("".join(flags) or "native")
    folder.mkdir()
    return load(build.compile_into(folder, [*compiler, *flags]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tiles")


def emulation(folder: Path) -> Library:
    library = compiled(folder, "-DEMULATE_TILES")
    assert library.tiles
    assert library.bf16
    return library


def window_of(library: Library | None, config: ModelConfig, batch: int, steps: int, threads: int = 1) -> Tensor:
    """The loss of a window and all gradients, in one tensor; without a library the reference's, in float64."""
    generator = torch.Generator().manual_seed(0)
    model = CharRNN(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(-0.4, 0.4, generator=generator)
    tokens = torch.randint(config.vocabulary_size, (batch, steps), generator=generator)
    if library is None:
        model = model.double()
    else:
        model.stack = CompiledStack(library, precision="bf16", threads=threads, otherwise=reference_stack)
    torch.manual_seed(5)  # of the dropout masks
    loss, _ = model.loss(tokens, tokens.flip(1))
    loss.backward()  # type: ignore[no-untyped-call]
    gradients = [parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None]
    return torch.cat([loss.detach()[None], *gradients]).double()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("config", CELLS, ids=str)
def test_tiles_give_the_reference_s_numbers(folder: Path, config: ModelConfig, shape: tuple[int, int, int]) -> None:
    size, *window = shape
    config = replace(config, hidden_size=size)
    expected = window_of(None, config, *window)
    found = window_of(emulation(folder), config, *window)
    assert float((found - expected).norm() / expected.norm()) < 3e-2
    assert abs(float(found[0] - expected[0])) < 2e-3


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("config", [*CELLS, *(replace(one, dropout=0.5) for one in CELLS)], ids=str)
def test_the_emulation_has_the_unit_s_bits(folder: Path, config: ModelConfig, shape: tuple[int, int, int]) -> None:
    unit = compiled(folder)
    if not unit.tiles:
        pytest.skip("this CPU has no AMX, or this process may not use it")
    size, *window = shape
    config = replace(config, hidden_size=size)
    assert torch.equal(window_of(unit, config, *window), window_of(emulation(folder), config, *window))


@pytest.mark.parametrize("config", CELLS, ids=str)
def test_threads_do_not_change_a_bit(folder: Path, config: ModelConfig) -> None:
    library = emulation(folder)
    config = replace(config, hidden_size=40)
    assert torch.equal(window_of(library, config, 50, 5), window_of(library, config, 50, 5, threads=3))


def test_the_emulation_needs_no_particular_processor(folder: Path) -> None:
    """As a newcomer's CPU has it: no AVX-512, no bfloat16 of its own."""
    if "avx2" not in build.instruction_set().split():
        pytest.skip("this CPU has no avx2")
    verify(compiled(folder, "-DEMULATE_TILES", "-march=x86-64-v3"))


def test_threads_and_children_have_the_permission(folder: Path) -> None:
    """It was asked for once, when the library was loaded."""
    library = compiled(folder)
    if not library.bf16:
        pytest.skip("this CPU has no bfloat16 products")
    config = replace(CELLS[0], hidden_size=40)
    expected = window_of(library, config, 20, 3)
    found: list[Tensor] = []
    thread = threading.Thread(target=lambda: found.append(window_of(library, config, 20, 3)))
    thread.start()
    thread.join()
    assert torch.equal(found[0], expected)
    child = os.fork()
    if child == 0:
        os._exit(0 if torch.equal(window_of(library, config, 20, 3), expected) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


REFUSED = """
import ctypes, sys
from pathlib import Path
from charrnn.network.kernels.compiled import load, verify

# Linux refuses the unit to a process whose signal stack could not hold a tile's registers.
class Stack(ctypes.Structure):
    _fields_ = (("pointer", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))

memory = ctypes.create_string_buffer(1 << 16)
libc = ctypes.CDLL(None, use_errno=True)
size = int(sys.argv[2])
assert libc.sigaltstack(ctypes.byref(Stack(ctypes.addressof(memory), 0, size)), None) == 0, ctypes.get_errno()
library = load(Path(sys.argv[1]))
assert not library.tiles
assert "tiles" not in library.name
verify(library)
"""


def test_a_refusal_leaves_the_other_kernels(folder: Path) -> None:
    library = compiled(folder)
    if not library.tiles:
        pytest.skip("this CPU has no AMX, or this process may not use it")
    file = folder / "native" / "kernels.so"
    # Enough for AVX-512's registers (AT_MINSIGSTKSZ counts the tiles, once they are supported), too little for tiles.
    done = subprocess.run(
        [sys.executable, "-c", REFUSED, str(file), "4096"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
