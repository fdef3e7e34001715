"""What the install decides, as data: swap, torch's source, pip's settings, the plan."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bootstrap import distros
from bootstrap.errors import ResourceError, UnsupportedSystemError
from bootstrap.install import pip_settings, plan, swap, torch_build
from bootstrap.install.paths import Prefix
from bootstrap.install.pip_settings import PipSettings
from bootstrap.install.plan import Options, Present
from bootstrap.system.facts import Facts
from bootstrap.system.gpu import Driver, Gpu
from bootstrap.system.hardware import Memory
from bootstrap.system.os_release import OsRelease

if TYPE_CHECKING:
    from pathlib import Path

DEBIAN = OsRelease(id="debian", version_id="12", name="Debian", pretty="Debian 12")
HOST = Facts(
    os=DEBIAN,
    glibc="2.36",
    managers={"apt": "/usr/bin/apt-get"},
    memory=Memory(total_mib=8192, swap_mib=0),
    disk_free_mib=20000,
    commands=frozenset({"curl", "git", "tmux"}),
    has=frozenset({"certificates", "compiler", "libstdc++"}),
)


@pytest.mark.parametrize(
    ("memory", "swap_mib", "free", "virt", "expected"),
    [
        (8192, 0, 20000, "vm:Amazon EC2", (0, "enough")),
        (1536, 0, 20000, "vm:Amazon EC2", (0, "enough")),
        (960, 0, 20000, "vm:Amazon EC2", (2048, "little")),
        (960, 1024, 20000, "vm:Amazon EC2", (0, "1024 MiB of swap")),
        (960, 0, 4000, "vm:Amazon EC2", (928, "little")),
        (960, 0, 3200, "vm:Amazon EC2", (0, "no room")),
        (960, 0, 20000, "container", (0, "container")),
        (0, 0, 20000, "unknown", (0, "enough")),
    ],
)
def test_swap(memory: int, swap_mib: int, free: int, virt: str, expected: tuple[int, str]) -> None:
    facts = replace(HOST, memory=Memory(total_mib=memory, swap_mib=swap_mib), disk_free_mib=free, virt=virt)
    decided = swap.decide(facts)
    assert decided.mib == expected[0]
    assert expected[1] in decided.reason


LISTING = """\
:env:.find-links='/srv/wheels /srv/more'
global.cert='/etc/company.crt'
global.extra-index-url='https://one.example/simple https://two.example/simple'
global.index-url='https://user:secret@pypi.example/simple'
global.timeout='180'
install.index-url='https://other.example/simple'
freeze.all='true'
nonsense
"""


def test_pip_settings_are_read_and_handed_on() -> None:
    settings = pip_settings.parse(LISTING)
    assert settings.index_url == "https://other.example/simple"  # [install] goes before [global]
    assert settings.find_links == ("/srv/wheels", "/srv/more")
    assert settings.uv_arguments() == ["--index-strategy", "unsafe-best-match"]  # no place: everybody can list them
    assert settings.uv_environment() == {
        "UV_FIND_LINKS": "/srv/wheels,/srv/more",
        "UV_DEFAULT_INDEX": "https://other.example/simple",
        "UV_INDEX": "https://one.example/simple https://two.example/simple",
        "SSL_CERT_FILE": "/etc/company.crt",
        "UV_HTTP_TIMEOUT": "180",
    }


def test_an_environment_variable_wins_though_pip_lists_it_first() -> None:
    listing = ":env:.index-url='https://env.example/simple'\nglobal.index-url='https://file.example/simple'\n"
    assert pip_settings.parse(listing).index_url == "https://env.example/simple"


def test_an_unconfigured_pip_names_no_source_and_trusts_what_the_system_trusts() -> None:
    settings = pip_settings.parse("global.disable-pip-version-check='1'\n:env:.index-url=''\n")
    assert not settings.names_a_source
    assert settings.uv_arguments() == []
    assert settings.uv_environment() == {"UV_SYSTEM_CERTS": "1"}


def test_messages_hold_no_credentials() -> None:
    settings = PipSettings(index_url="https://user:secret@pypi.example/simple/")
    assert settings.sources() == ["https://pypi.example/simple/"]


class TestTorch:
    """Where torch comes from."""

    def test_a_plain_host_asks_only_the_index_of_cpu_builds(self) -> None:
        (only,) = torch_build.attempts("cpu", None, PipSettings())
        assert only.environment["UV_DEFAULT_INDEX"] == "https://download.pytorch.org/whl/cpu"

    def test_a_configured_host_is_asked_first_and_by_the_full_name(self) -> None:
        host, ours = torch_build.attempts("cpu", None, PipSettings(find_links=("/srv/wheels",)))
        assert host.requirement == "torch==2.13.0+cpu"
        assert host.environment["UV_FIND_LINKS"] == "/srv/wheels"
        assert "download.pytorch.org" in ours.where

    def test_a_named_index_is_the_only_one(self) -> None:
        settings = PipSettings(find_links=("/srv",), extra_index_urls=("https://other.example",))
        (only,) = torch_build.attempts("cpu", "https://me:pw@mirror.example/cpu", settings)
        assert only.arguments == ()  # everybody can list them
        assert only.environment["UV_DEFAULT_INDEX"] == "https://me:pw@mirror.example/cpu"
        assert "UV_INDEX" not in only.environment
        assert only.where == "https://mirror.example/cpu"
        assert only.probe

    def test_set_but_empty_names_no_index_of_ours_and_still_looks_before_it_takes(self) -> None:
        attempts = torch_build.attempts("cpu", "", PipSettings(index_url="https://pypi.example/simple"))
        assert [attempt.requirement for attempt in attempts] == ["torch==2.13.0+cpu", "torch==2.13.0"]
        assert not any("download.pytorch.org" in word for attempt in attempts for word in attempt.environment.values())
        assert attempts[-1].probe

    def test_a_cuda_build_comes_from_its_own_index(self) -> None:
        (only,) = torch_build.attempts("cu130", None, PipSettings())
        assert only.environment["UV_DEFAULT_INDEX"] == "https://download.pytorch.org/whl/cu130"
        assert not only.probe

    def test_a_cuda_build_is_recognised_before_it_is_downloaded(self) -> None:
        assert torch_build.brings_cuda("Would install 3 packages\n + nvidia-cublas==13.1\n + torch==2.13.0\n")
        assert not torch_build.brings_cuda("Would install 1 package\n + torch==2.13.0+cpu\n")


def planned(facts: Facts = HOST, present: Present = Present(), **options: object) -> plan.Plan:  # noqa: B008  (frozen)
    return plan.make(facts, distros.match(facts.os), Options(**options), present)  # type: ignore[arg-type]  # as the test says


def test_a_host_that_has_everything_gets_only_the_stack() -> None:
    made = planned()
    assert {phase.name: phase.action for phase in made.phases} == {
        "swap": "skip",
        "tools": "unchanged",
        "driver": "skip",
        "torch": "do",
        "links": "do",
        "corpora": "do",
        "verify": "do",
        "threads": "do",
        "receipt": "do",
    }
    assert not made.unchanged


def test_a_finished_install_has_nothing_to_do() -> None:
    present = Present(torch="2.13.0+cpu", verified="2.13.0+cpu", links=True, corpora=True)
    assert planned(present=present).unchanged


def test_the_mark_of_torch_holds_nothing_of_the_index() -> None:
    assert planned(torch_index="https://user:token@mirror.example/simple").torch_mark == "2.13.0+cpu"


def test_a_gpu_that_has_appeared_changes_torch_and_asks_for_another_check() -> None:
    present = Present(torch="2.13.0+cpu", verified="2.13.0+cpu", links=True, corpora=True)
    facts = replace(HOST, gpus=(Gpu("0000:00:1e.0", "0x1eb8"),), driver=Driver("595.71.05", "/sys"))
    made = planned(facts, present)
    assert made["torch"].action == "do"
    assert made["verify"].action == "do"
    assert made.torch.build.startswith("cu13")


def test_missing_programs_become_packages_and_omitting_leaves_them_to_the_user() -> None:
    bare = replace(HOST, commands=frozenset())
    assert planned(bare)["tools"].action == "do"
    assert "tmux" in planned(bare).commands()[-1].split()
    assert planned(bare, omit_packages=True)["tools"].action == "skip"
    assert planned(bare, omit_packages=True)["tools"].text.endswith(": curl tmux git")
    assert planned(bare, omit_packages=True).packages is None


def test_what_no_repository_has_is_not_asked_for_again() -> None:
    bare = replace(HOST, commands=frozenset({"curl", "git"}))
    done = Present(torch="2.13.0+cpu", verified="2.13.0+cpu", links=True, corpora=True, missing=frozenset({"tmux"}))
    assert planned(bare, done)["tools"].text == "tmux", "screen may serve instead"
    both = replace(done, missing=frozenset({"tmux", "screen"}))
    assert planned(bare, both).unchanged
    assert "not: screen tmux" in planned(bare, both)["tools"].text
    assert planned(replace(bare, commands=frozenset()), both)["tools"].text == "curl git"


def test_a_gpu_without_a_driver_gets_one_only_where_cuda_was_asked_for() -> None:
    facts = replace(HOST, gpus=(Gpu("0000:00:1e.0", "0x1eb8"),), kernel="6.1.0-1-amd64")
    assert planned(facts)["driver"].action == "skip"
    assert planned(facts).torch.build == "cpu"
    asked = planned(facts, accelerator="cuda")
    assert asked["driver"].action == "do"
    assert any("linux-headers-6.1.0-1-amd64" in line.split() for line in asked.commands())
    with pytest.raises(UnsupportedSystemError, match="by hand"):
        planned(facts, accelerator="cuda", omit_packages=True)


def test_a_gpu_whose_driver_is_loaded_at_last_is_checked() -> None:
    facts = replace(HOST, gpus=(Gpu("0000:00:1e.0", "0x1eb8"),), kernel="6.1.0-1-amd64")
    asked = planned(facts, accelerator="cuda")
    done = Present(torch=asked.torch_mark, verified="2.13.0", links=True, corpora=True, gpu_usable=False)
    assert planned(facts, done, accelerator="cuda")["verify"].action == "unchanged"
    rebooted = replace(facts, driver=Driver("595.71.05", "/sys"))
    again = planned(rebooted, done, accelerator="cuda")
    assert (again["torch"].action, again["verify"].action) == ("unchanged", "do")
    # Checked with that driver, and still no GPU (a container without its device, say): nothing has changed since.
    checked = replace(done, driver="595.71.05")
    assert planned(rebooted, checked, accelerator="cuda")["verify"].action == "unchanged"
    assert planned(rebooted, replace(done, gpu_usable=True), accelerator="cuda")["verify"].action == "unchanged"
    assert planned(rebooted, replace(done, torch="2.13.0+cpu"), accelerator="cpu")["verify"].action == "unchanged"


def test_cuda_without_a_gpu_is_refused() -> None:
    with pytest.raises(UnsupportedSystemError, match="no NVIDIA GPU"):
        planned(accelerator="cuda")


@pytest.mark.parametrize("glibc", ["2.26", "2.17", None])
def test_an_old_or_missing_glibc_is_refused(glibc: str | None) -> None:
    with pytest.raises(UnsupportedSystemError, match=r"2\.28"):
        plan.check(replace(HOST, glibc=glibc), Options(), Present())


def test_no_room_is_said_in_figures(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="only 900 MiB are free"):
        plan.check(replace(HOST, disk_free_mib=900), Options(prefix=Prefix(tmp_path)), Present())


def test_the_plan_is_data() -> None:
    text = json.dumps(planned(replace(HOST, commands=frozenset())).to_json())
    content = json.loads(text)
    assert content["torch"]["build"] == "cpu"
    assert any("apt-get" in word for command in content["commands"] for word in command)
