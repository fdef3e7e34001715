"""How soon `charrnn train` reaches its first iteration, and how much memory training takes: against plain PyTorch.

    python benchmarks/start_and_memory.py --data input.txt

start    from the start of the process until the first iteration is over (stored choice and encoded text, as from the
         second run on), against `python -c 'import torch'`; in turns, the best and the median of each
memory   the peak resident memory of some iterations of the default network, each in a process of its own, against
         the plain loop of training_speed.py in float32, with PyTorch's default threads
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
CHARRNN = Path(sys.executable).parent / "charrnn"
PLAIN = """
import resource, sys, torch
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from training_speed import PlainNetwork, plain_loop
from charrnn.network.model import ModelConfig
text = Path(sys.argv[2]).read_text()
symbols = sorted(set(text))
number = {symbol: i for i, symbol in enumerate(symbols)}
tokens = torch.tensor([number[symbol] for symbol in text[: 50 * 51]]).view(50, 51)
iterate = plain_loop(ModelConfig(len(symbols)), tokens, low=False)
for _ in range(30):
    iterate()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def seconds_until_first_iteration(data: Path, folder: str) -> float:
    """Starts a run and waits for the line of its first iteration; the run is then ended."""
    argv = [str(CHARRNN), "train", "--data", str(data), "--iterations", "1000000", "--checkpoint-dir", folder]
    began = time.perf_counter()
    with subprocess.Popen([*argv, "--print-every", "1"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("1/"):
                taken = time.perf_counter() - began
                process.kill()
                return taken
    raise SystemExit("the run ended before its first iteration")


def seconds_of_import() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import torch"], check=True)
    return time.perf_counter() - began


def peak_of_training(data: Path, folder: str) -> int:
    """KiB of 30 iterations, by `charrnn train` itself; evaluation left out as in the plain loop."""
    program = (
        "import resource, sys, charrnn\n"
        "calls = []\n"
        "stop = lambda: calls.append(0) or len(calls) > 30\n"
        "charrnn.train(sys.argv[1], iterations=1000, checkpoint_dir=sys.argv[2], should_stop=stop)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(data), folder], capture_output=True, text=True, check=True
    )
    return int(done.stdout.split()[-1])


def peak_of_plain_loop(data: Path) -> int:
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    argv = [sys.executable, "-c", PLAIN, str(HERE), str(data)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env=environment)
    return int(done.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        seconds_until_first_iteration(given.data, f"{folder}/first")  # chooses, compiles and encodes, once
        starts, imports = [], []
        for turn in range(given.rounds):
            imports.append(seconds_of_import())
            starts.append(seconds_until_first_iteration(given.data, f"{folder}/{turn}"))
        ours, plain = peak_of_training(given.data, f"{folder}/memory"), peak_of_plain_loop(given.data)
    for name, of in (("best", min), ("median", statistics.median)):
        start, torch_alone = of(starts), of(imports)
        print(f"start, {name}: {start:.2f} s; import torch alone {torch_alone:.2f} s; ratio {start / torch_alone:.2f}")
    print(f"peak memory: {ours / 1024:.0f} MiB; plain loop {plain / 1024:.0f} MiB; ratio {ours / plain:.2f}")


if __name__ == "__main__":
    main()
