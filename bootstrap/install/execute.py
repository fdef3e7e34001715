"""Carries a plan out: each phase timed, each safe to be cut in and done again."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bootstrap import __version__, clock, events
from bootstrap.distros import requirements
from bootstrap.errors import InstallError, ResourceError
from bootstrap.hosts.base import CommandError
from bootstrap.hosts.local import LocalHost, account
from bootstrap.install import pip_settings, receipt, torch_build
from bootstrap.install.first_stage import disk_is_full, last_words
from bootstrap.install.paths import LINKS, PROGRAMS, Prefix
from bootstrap.install.plan import CORPUS, Options, Plan, Present, corpus_file
from bootstrap.install.receipt import Receipt
from bootstrap.install.state import Steps
from bootstrap.install.verify import train_a_step
from bootstrap.packages.client import Answer
from bootstrap.system import software

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bootstrap.distros.schema import Release
    from bootstrap.events import Outcome, Recorder
    from bootstrap.hosts.base import Result
    from bootstrap.hosts.local import Account
    from bootstrap.install.screen import Screen
    from bootstrap.packages.client import Request
    from bootstrap.phases import Category
    from bootstrap.system.facts import Facts

_DOWNLOAD = 1800  # seconds for a step that downloads
_SHORT = 300
_KILLED = 137
_MORE_MEMORY = "see dmesg; add memory or swap"


def look(prefix: Prefix) -> Present:
    """Read what an earlier run has left."""
    steps = Steps(prefix)
    links = all((LINKS / name).is_symlink() and (LINKS / name).exists() for name in PROGRAMS)
    ours = links and all(os.readlink(LINKS / name) == str(prefix.venv / "bin" / name) for name in PROGRAMS)  # noqa: PTH115 - a string
    found = receipt.read(prefix) or Receipt(str(prefix.root))
    return Present(
        torch=steps.done("torch"),
        verified=steps.done("verified") if found.status == "complete" else None,
        links=ours,
        corpora=corpus_file(prefix).exists(),
        gpu_usable=bool(found.torch.get("gpu_usable", True)),
        driver=found.facts.get("gpu.driver"),
        missing=frozenset(
            [
                *found.not_to_be_had(software.repositories(Path("/"))),
                *(name for missing in earlier(prefix).missing for name in missing.packages),
            ]
        ),
    )


def earlier(prefix: Prefix) -> Answer:
    """Return what came of the packages that bootstrap.sh asked for in this run."""
    return Answer.read((prefix.log / "answer").read_text().splitlines() if (prefix.log / "answer").exists() else ())


@dataclass(slots=True)
class Installer:
    """Carries out one plan. `user` is who will train; commands that train or verify run as that user."""

    options: Options
    plan: Plan
    facts: Facts
    release: Release | None
    user: Account
    screen: Screen
    recorder: Recorder
    host: LocalHost = field(default_factory=LocalHost)
    _torch: dict[str, Any] = field(default_factory=dict, init=False)
    _missing: set[str] = field(default_factory=set, init=False)
    _swapfile: str | None = field(default=None, init=False)

    @property
    def _prefix(self) -> Prefix:
        return self.options.prefix

    def run(self) -> None:
        """Do what the plan says is to be done."""
        self._facts()
        self._swap()
        self._tools()
        self._driver()
        self._install_torch()
        self._links()
        self._corpora()
        self._verify()
        self._threads()

    @contextmanager
    def _phase(self, name: str, category: Category) -> Iterator[Outcome]:
        """Time a phase of the plan and show its row."""
        planned = self.plan[name]
        started = clock.uptime()
        with self.recorder.phase(f"install/{name}", category) as outcome:
            if planned.action != "do":
                outcome.status = "unchanged" if planned.action == "unchanged" else "skipped"
            yield outcome
        text = outcome.detail.pop("text", planned.text)
        if planned.action == "do":
            self.screen.row(name, clock.uptime() - started, text)

    def _call(
        self,
        argv: Sequence[str],
        env: Mapping[str, str] | None = None,
        *,
        timeout: float = _SHORT,
        input: bytes = b"",  # noqa: A002 - as Host.run has it
    ) -> Result:
        """Run a command with its output in the log."""
        self.screen.command(argv)
        result = self.host.run(argv, env=env, timeout=timeout, input=input, on_line=self.screen.note)
        if result.exit_code == _KILLED:
            raise ResourceError(f"{argv[0]} was killed, probably for want of memory", remedy=_MORE_MEMORY)
        return result

    def _must(self, argv: Sequence[str], env: Mapping[str, str] | None = None, *, timeout: float = _SHORT) -> Result:
        result = self._call(argv, env, timeout=timeout)
        if not result.ok:
            raise CommandError(f"{Path(argv[0]).name} failed: {result.tail}", argv=argv, result=result)
        return result

    def _facts(self) -> None:
        for name, value in self.facts.flat().items():
            self.recorder.fact(name, value)

    def _swap(self) -> None:
        size = self.plan.swap.mib
        if not size:
            return
        with self._phase("swap", "disk") as outcome:
            file = str(self._prefix.swapfile)
            try:
                if not self._prefix.swapfile.exists():
                    part = f"{file}.part"
                    self._must(["dd", "if=/dev/zero", f"of={part}", "bs=1M", f"count={size}", "status=none"])
                    Path(part).chmod(0o600)
                    self._must(["mkswap", part])
                    Path(part).rename(file)
                self._must(["swapon", file])
                self._swapfile = file
            except CommandError as error:
                self._prefix.swapfile.unlink(missing_ok=True)
                outcome.status = "failed"
                outcome.detail["text"] = "no swap file"
                self.screen.warn(f"{self.plan.swap.reason}, and no swap file could be made: {error}")

    def _tools(self) -> None:
        """Bring the tools; say what could not be had, here or by bootstrap.sh, which asked for them with Python."""
        for warning in self.plan.warnings:
            self.screen.note(f"not to be had on this distro: {warning}")
        missing = earlier(self._prefix).missing
        with self._phase("tools", "mixed") as outcome:
            if self.plan.packages:
                done = self._manage("tools", self.plan.packages)
                outcome.detail["text"] = " ".join(done.installed) or "nothing new"
                with (self._prefix.state / "packages").open("a") as file:
                    file.writelines(f"{name}\n" for name in done.installed)
                missing += done.missing
            elif self.options.omit_packages:
                self.screen.row("tools", 0.0, self.plan["tools"].text)
        for lost in missing:
            if lost.permanent:
                self._missing |= set(lost.packages)
            without = requirements.consequence(self.release, lost.packages) if self.release else ""
            self.screen.warn(f"{' '.join(lost.packages)}: {lost.reason}; {without}")

    def _manage(self, phase: str, request: Request) -> Answer:
        return request.bring(f"install/{phase}", log=self.screen.log, events=self._prefix.events)

    def _driver(self) -> None:
        with self._phase("driver", "mixed") as outcome:
            if self.plan.driver is None:
                return
            self._manage("driver", self.plan.driver)
            outcome.detail["text"] = "NVIDIA's driver is installed"
        self.screen.warn("the GPU can be used after a reboot; run the same command again then, and it is checked")

    def _install_torch(self) -> None:
        with self._phase("torch", "network") as outcome:
            if self.plan["torch"].action == "do":
                outcome.detail["text"] = self._get_torch()

    def _get_torch(self) -> str:
        """Try each source in turn; return what came, in words."""
        prefix, build = self._prefix, self.plan.torch.build
        listing = [str(prefix.python), "-m", "pip", *pip_settings.LISTING]
        listed = self.host.run(listing, env=pip_settings.LISTING_ENVIRONMENT, timeout=_SHORT)
        settings = pip_settings.parse(listed.stdout if listed.ok else "")
        tried: list[tuple[torch_build.Attempt, str]] = []
        for attempt in torch_build.attempts(build, self.options.torch_index, settings):
            env = {"UV_CACHE_DIR": str(prefix.cache), **attempt.environment}
            command = torch_build.install_command(str(prefix.uv), str(prefix.python), attempt)
            if attempt.probe:
                probe = torch_build.install_command(str(prefix.uv), str(prefix.python), attempt, dry_run=True)
                result = self._call(probe, env, timeout=_SHORT)
                if torch_build.brings_cuda(result.stdout + result.stderr):
                    tried.append((attempt, "that is a CUDA build of several gigabytes"))
                    continue
            with Steps(prefix).changing("torch", self.plan.torch_mark):
                result = self._call(command, env, timeout=_DOWNLOAD)
                if not result.ok:
                    Steps(prefix).abandon()
                    if disk_is_full(result.stdout + result.stderr):  # another source needs as much
                        raise ResourceError(
                            f"the disk is full: torch needs about 1 GB more in {prefix.root}",
                            remedy="free some space, then run the same command again",
                        )
                    tried.append((attempt, last_words(result.stderr or result.stdout)))
                    continue
            self._torch = {
                "version": torch_build.VERSION,
                "build": build,
                "from": attempt.where,
                "reason": self.plan.torch.reason,
            }
            where = attempt.where.partition(": ")[0] if attempt.where.startswith("the host") else attempt.where
            return f"{torch_build.VERSION}, {build} build ({self.plan.torch.reason}), from {where}"
        remedy = "--torch-index URL names another index, --accelerator another build"
        raise InstallError(f"torch could not be had. Tried {torch_build.why_not(tried)}", remedy=remedy)

    def _links(self) -> None:
        with self._phase("links", "disk"):
            if self.plan["links"].action != "do":
                return
            LINKS.mkdir(parents=True, exist_ok=True)
            for name in PROGRAMS:
                link, target = LINKS / name, self._prefix.venv / "bin" / name
                if link.exists() and not link.is_symlink():
                    self.screen.warn(f"{link} is there and is not ours: it stays; run {target}")
                    continue
                part = link.with_name(f".{name}.part")
                part.unlink(missing_ok=True)
                part.symlink_to(target)
                part.replace(link)

    def _corpora(self) -> None:
        with self._phase("corpora", "network") as outcome:
            if self.plan["corpora"].action != "do":
                return
            program = str(self._prefix.venv / "bin" / "charrnn")
            result = self._call(
                [program, "corpus", "get", CORPUS], {"UV_CACHE_DIR": str(self._prefix.cache)}, timeout=_SHORT
            )
            if not result.ok:
                outcome.status = "failed"
                outcome.detail["text"] = f"{CORPUS} could not be fetched"
                self.screen.warn(f"{result.tail.removeprefix('charrnn: ')}")

    def _verify(self) -> None:
        """Train one step as the user who will train, then compile what that imported: the user cannot."""
        with self._phase("verify", "compute") as outcome:
            if self.plan["verify"].action != "do":
                return
            *_, cold = train_a_step(self._prefix, account("root"), self.screen.note)
            version, cuda, usable, warm = train_a_step(self._prefix, self.user, self.screen.note)
            self.recorder.fact("import.cold_seconds", float(cold))
            self.recorder.fact("import.warm_seconds", float(warm))
            self.recorder.fact("torch", version)
            self.recorder.fact("torch.build", self.plan.torch.build)
            if self.plan.torch.build == "cpu" and cuda != "None":
                raise InstallError(f"torch {version} is a CUDA build, and the CPU build was wanted")
            self._torch |= {
                "version": version,
                "cuda": None if cuda == "None" else cuda,
                "gpu_usable": usable == "True",
            }
            with Steps(self._prefix).changing("verified", version):
                pass
            outcome.detail["text"] = f"torch {version} trains as {self.user.name}"

    def _threads(self) -> None:
        """Measure which kernel, precision and thread count train fastest here; the trainer takes the choice up."""
        with self._phase("threads", "compute") as outcome:
            if self.plan["threads"].action != "do":
                return
            program = str(self._prefix.venv / "bin" / "charrnn")
            kept = {"CHARRNN_CACHE": str(self._prefix.venv / "share" / "charrnn")}  # the installation's, for every user
            command = [program, "bench", "threads", "--load", "0", "--windows", "5", "--json"]
            if (text := corpus_file(self._prefix)).exists():  # the choice is kept for a network over that many symbols
                command += ["--symbols", str(len(set(text.read_text())))]
            result = self._call(command, kept)
            try:
                chosen = json.loads(result.stdout)["choice"]
                facts = {name: chosen[name] for name in ("threads", "precision", "kernel")}
            except (ValueError, LookupError, TypeError):
                outcome.status = "failed"
                outcome.detail["text"] = "not measured; each training chooses for itself"
                self.screen.warn(f"charrnn bench threads: {result.tail}")
                return
            for name, value in facts.items():
                self.recorder.fact(f"fastest.{name}", value)
            outcome.detail["text"] = "fastest here: {kernel} kernel, {precision}, threads: {threads}".format(**facts)

    def finish(self, seconds: Mapping[str, float], caller: Account) -> None:
        """Write the receipt and remove what was only needed on the way."""
        prefix = self._prefix
        tidy(prefix)
        old = receipt.read(prefix) or Receipt(str(prefix.root))
        repositories = software.repositories(Path("/"))
        made = sorted({str(path) for path in prefix.root.iterdir()} | {str(prefix.receipt)})
        new = Receipt(
            prefix=str(prefix.root),
            status="complete",
            version=__version__,
            finished=clock.wall(),
            user=caller.name,
            paths=[path for path in made if Path(path).name in OURS],
            links={
                str(LINKS / name): str(prefix.venv / "bin" / name) for name in PROGRAMS if (LINKS / name).is_symlink()
            },
            swapfile=self._swapfile or old.swapfile,
            packages=_lines(prefix.state / "packages"),
            missing=sorted({*old.not_to_be_had(repositories), *self._missing}),
            repositories=repositories,
            torch={**old.torch, **self._torch},
            corpora={CORPUS: str(corpus_file(prefix))} if corpus_file(prefix).exists() else {},
            seconds=dict(seconds),
            facts=self.facts.flat(),
        )
        receipt.write(prefix, new)


OURS = frozenset(
    {
        "venv",
        "python",
        "state",
        "cache",
        "tmp",
        "log",
        "corpora",
        "events.jsonl",
        "receipt.json",
        "threads.json",
        "swapfile",
        "swapfile.part",
        ".receipt.part",
    }
)
"""Everything that an install makes under its prefix, by name."""


def _lines(path: Path) -> list[str]:
    return list(dict.fromkeys(path.read_text().split())) if path.exists() else []


def tidy(prefix: Prefix) -> None:
    """Remove what was only needed on the way, and use the system's folder for temporary files again."""
    os.environ.pop("TMPDIR", None)
    (prefix.log / "answer").unlink(missing_ok=True)
    tempfile.tempdir = None
    shutil.rmtree(prefix.cache, ignore_errors=True)
    shutil.rmtree(prefix.tmp, ignore_errors=True)
    (prefix.venv / ".lock").unlink(missing_ok=True)  # uv's, which everybody could write


def stream_seconds(prefix: Prefix) -> dict[str, float]:
    """Return the seconds of each phase of the run that the events file holds."""
    return receipt.seconds(events.parse(prefix.events.read_text().splitlines()))
