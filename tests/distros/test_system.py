"""Reading a machine from the files below a root folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bootstrap import system
from bootstrap.system import gpu, hardware, os_release, software
from bootstrap.system.gpu import Driver, Gpu

if TYPE_CHECKING:
    from pathlib import Path


def file(root: Path, name: str, text: str = "") -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_an_empty_root_is_read_without_complaint(tmp_path: Path) -> None:
    facts = system.read(tmp_path)

    assert facts.os.id == "linux"
    assert facts.managers == {}
    assert facts.glibc is None
    assert facts.memory.total_mib is None
    assert set(facts.flat()) >= {"os.id", "glibc", "memory.mib", "gpu.count"}


def test_this_machine_is_read() -> None:
    facts = system.read()

    assert facts.glibc
    assert facts.cpu.count >= 1
    assert facts.memory.total_mib
    assert facts.disk_free_mib


@pytest.mark.parametrize(
    ("text", "version", "like"),
    [
        ('ID="rhel"\nVERSION_ID="9.6"\nID_LIKE="centos fedora"\n', "9.6", ("centos", "fedora")),
        ("ID=rhel\nVERSION_ID=9.6\n", "9.6", ()),
        ("# a comment\n\nID='rhel'\nVERSION_ID='9.6'\nnonsense\nID_LIKE=\n", "9.6", ()),
        ('ID=rhel\nVERSION_ID="9.6\n', "9.6", ()),
    ],
)
def test_os_release(text: str, version: str, like: tuple[str, ...]) -> None:
    parsed = os_release.parse(text)

    assert (parsed.id, parsed.version_id, parsed.id_like) == ("rhel", version, like)


def test_os_release_is_looked_for_in_usr_lib_too(tmp_path: Path) -> None:
    file(tmp_path, "usr/lib/os-release", "ID=sles\n")

    assert os_release.read(tmp_path).id == "sles"


def test_dnf_is_told_apart_by_what_it_links_to(tmp_path: Path) -> None:
    file(tmp_path, "usr/bin/dnf-3")
    for name in ("dnf", "yum"):
        (tmp_path / "usr/bin" / name).symlink_to("dnf-3")
    assert software.managers(tmp_path) == {"dnf4": "/usr/bin/dnf"}

    file(tmp_path, "usr/bin/dnf5")
    for name in ("dnf", "yum"):
        (tmp_path / "usr/bin" / name).unlink()
        (tmp_path / "usr/bin" / name).symlink_to("/usr/bin/dnf5")
    assert software.managers(tmp_path) == {"dnf5": "/usr/bin/dnf5"}


def test_a_compiler_counts_only_with_the_headers_of_the_c_library(tmp_path: Path) -> None:
    file(tmp_path, "usr/bin/gcc")
    assert "compiler" not in software.has(tmp_path)

    file(tmp_path, "usr/include/stdio.h")
    assert "compiler" in software.has(tmp_path)

    (tmp_path / "usr/bin/gcc").unlink()
    assert "compiler" not in software.has(tmp_path)


def test_other_repositories_are_told_by_their_files(tmp_path: Path) -> None:
    seen = [software.repositories(tmp_path)]
    for path in ("etc/apt/sources.list.d/x.sources", "etc/yum.repos.d/y.repo", "etc/zypp/repos.d/z.repo"):
        file(tmp_path, path)
        seen.append(software.repositories(tmp_path))
    (tmp_path / "etc/yum.repos.d/y.repo").write_text("enabled=0")
    seen.append(software.repositories(tmp_path))
    file(tmp_path, "etc/hosts")

    assert len(set(seen)) == 5
    assert software.repositories(tmp_path) == seen[-1]


def test_yum_of_its_own_is_the_old_one(tmp_path: Path) -> None:
    file(tmp_path, "usr/bin/yum")

    assert software.managers(tmp_path) == {"yum3": "/usr/bin/yum"}


def test_pythons_newest_first_with_and_without_ensurepip(tmp_path: Path) -> None:
    for version in ("3.9", "3.12"):
        file(tmp_path, f"usr/bin/python{version}")
        (tmp_path / f"usr/lib/python{version}/venv").mkdir(parents=True)
    (tmp_path / "usr/lib/python3.12/ensurepip").mkdir()
    (tmp_path / "usr/bin/python3").symlink_to("python3.9")
    file(tmp_path, "usr/bin/python3.12-config")

    found = software.pythons(tmp_path)

    assert [(python.path, python.venv) for python in found] == [
        ("/usr/bin/python3.12", True),
        ("/usr/bin/python3.9", False),
    ]


def test_links_do_not_lead_out_of_the_root(tmp_path: Path) -> None:
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/zypper").symlink_to("/bin/sh")  # there, out here; not below the root

    assert software.managers(tmp_path) == {}


def test_a_link_that_leads_to_itself_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/zypper").symlink_to("zypper")

    assert software.managers(tmp_path) == {}


def test_glibc_tells_its_own_version(tmp_path: Path) -> None:
    said = b"\0GNU C Library (Debian GLIBC 2.36-9+deb12u10) stable release version 2.36.\nCopyright\0"
    (tmp_path / "lib/x86_64-linux-gnu").mkdir(parents=True)
    (tmp_path / "lib/x86_64-linux-gnu/libc.so.6").write_bytes(b"\x7fELF" + said)

    assert software.glibc(tmp_path) == "2.36"


@pytest.mark.parametrize(
    "path",
    ["etc/ssl/certs/ca-certificates.crt", "etc/pki/tls/certs/ca-bundle.crt", "var/lib/ca-certificates/ca-bundle.pem"],
)
def test_certificates_are_found_where_each_family_has_them(tmp_path: Path, path: str) -> None:
    file(tmp_path, path)

    assert software.has(tmp_path) == {"certificates"}


def meminfo(total: int) -> str:
    return f"MemTotal:       {total * 1024} kB\nMemAvailable:   {total * 512} kB\nSwapTotal:      0 kB\n"


def test_a_memory_limit_of_cgroup_v2(tmp_path: Path) -> None:
    file(tmp_path, "proc/meminfo", meminfo(8000))
    file(tmp_path, "proc/self/cgroup", "0::/user.slice/session\n")
    file(tmp_path, "sys/fs/cgroup/cgroup.controllers", "cpu memory\n")
    file(tmp_path, "sys/fs/cgroup/user.slice/memory.max", str(512 << 20))
    file(tmp_path, "sys/fs/cgroup/user.slice/session/memory.max", "max\n")

    assert hardware.memory(tmp_path).limit_mib == 512


def test_a_memory_limit_of_cgroup_v1(tmp_path: Path) -> None:
    file(tmp_path, "proc/meminfo", meminfo(8000))
    file(tmp_path, "proc/self/cgroup", "4:memory:/job\n0::/\n")
    file(tmp_path, "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712")
    file(tmp_path, "sys/fs/cgroup/memory/job/memory.limit_in_bytes", str(700 << 20))

    assert hardware.memory(tmp_path).limit_mib == 700


def test_a_cpu_quota(tmp_path: Path) -> None:
    file(
        tmp_path,
        "proc/cpuinfo",
        "processor : 0\nmodel name : X\nflags : avx2\nprocessor : 1\nprocessor : 2\nprocessor : 3\n",
    )
    file(tmp_path, "proc/self/cgroup", "0::/\n")
    file(tmp_path, "sys/fs/cgroup/cgroup.controllers", "cpu\n")
    file(tmp_path, "sys/fs/cgroup/cpu.max", "250000 100000\n")

    assert hardware.cpu(tmp_path, live=False) == hardware.Cpu(2, "X", frozenset({"avx2"}))


@pytest.mark.parametrize(
    ("line", "size"),
    [
        ("tmpfs /tmp tmpfs rw,nosuid,size=470016k,nr_inodes=1048576 0 0\n", 459),
        ("tmpfs /tmp tmpfs rw,nosuid 0 0\n", 500),
        ("/dev/nvme0n1p1 / ext4 rw 0 0\n", None),
        ("tmpfs /tmp tmpfs rw,size=64m 0 0\n/dev/sdb /tmp ext4 rw 0 0\n", None),
    ],
)
def test_tmp_on_tmpfs(tmp_path: Path, line: str, size: int | None) -> None:
    file(tmp_path, "proc/meminfo", meminfo(1000))
    file(tmp_path, "proc/self/mounts", line)

    assert hardware.tmp_tmpfs_mib(tmp_path) == size


def device(root: Path, address: str, vendor: str, kind: str, number: str = "0x1eb8") -> None:
    folder = f"sys/bus/pci/devices/{address}"
    for name, text in (("vendor", vendor), ("class", kind), ("device", number)):
        file(root, f"{folder}/{name}", f"{text}\n")


def test_gpus_are_nvidias_display_controllers(tmp_path: Path) -> None:
    device(tmp_path, "0000:00:1e.0", "0x10de", "0x030200")
    device(tmp_path, "0000:00:1f.0", "0x10de", "0x030000", "0x2237")
    device(tmp_path, "0000:00:20.0", "0x10de", "0x040300")  # the card's audio
    device(tmp_path, "0000:00:21.0", "0x10de", "0x068000")  # a bridge (NVSwitch)
    device(tmp_path, "0000:00:03.0", "0x1d0f", "0x030000")  # Amazon's own display

    assert gpu.gpus(tmp_path) == (
        Gpu("0000:00:1e.0", "0x1eb8"),
        Gpu("0000:00:1f.0", "0x2237"),
    )


@pytest.mark.parametrize(
    ("name", "text", "version"),
    [
        ("sys/module/nvidia/version", "580.95.05\n", "580.95.05"),
        (
            "proc/driver/nvidia/version",
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.163.01  Tue Apr  8\n",
            "550.163.01",
        ),
        (
            "proc/driver/nvidia/version",
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (U22)\nGCC: gcc 13.3\n",
            "580.95.05",
        ),
    ],
)
def test_the_drivers_version(tmp_path: Path, name: str, text: str, version: str) -> None:
    file(tmp_path, name, text)

    found = gpu.driver(tmp_path)

    assert found is not None
    assert (found.version, found.source) == (version, f"/{name}")


def test_no_driver(tmp_path: Path) -> None:
    file(tmp_path, "sys/module/nvidia/version", "\n")

    assert gpu.driver(tmp_path) is None


T4, V100 = Gpu("a", "0x1eb8"), Gpu("b", "0x1db1")


@pytest.mark.parametrize(
    ("accelerator", "gpus", "driver", "torch", "build", "needed"),
    [
        ("auto", (), None, "2.13.0", "cpu", False),
        ("auto", (T4,), None, "2.13.0", "cpu", False),
        ("cuda", (T4,), None, "2.13.0", "cu132", True),
        ("auto", (T4,), "580.65.06", "2.13.0", "cu132", False),
        ("auto", (T4,), "579.99", "2.13.0", "cu126", False),
        ("auto", (T4,), "525.60.13", "2.13.0", "cu126", False),
        ("auto", (T4,), "525.60.12", "2.13.0", "cpu", False),
        ("auto", (T4,), "550.163.01", "2.15.0", "cpu", False),
        ("cuda", (T4,), "550.163.01", "2.15.0", "cu132", True),
        ("auto", (V100,), "580.95.05", "2.13.0", "cu126", False),
        ("auto", (V100,), "580.95.05", "2.15.0", "cpu", False),
        ("auto", (T4, V100), "580.95.05", "2.13.0", "cu126", False),
        ("cpu", (T4,), "580.95.05", "2.13.0", "cpu", False),
    ],
)
def test_the_build_of_torch(  # noqa: PLR0917  (a row of the table)
    accelerator: gpu.Accelerator, gpus: tuple[Gpu, ...], driver: str | None, torch: str, build: str, needed: bool
) -> None:
    choice = gpu.choose(accelerator, gpus, Driver(driver, "x") if driver else None, torch)

    assert (choice.build, choice.driver_needed) == (build, needed)
    assert choice.reason
    assert choice.problem is None


def test_cuda_without_a_gpu_is_a_problem() -> None:
    assert "no NVIDIA GPU" in str(gpu.choose("cuda", (), None).problem)


def test_a_driver_that_is_too_old_is_named_with_what_is_needed() -> None:
    reason = gpu.choose("auto", (T4,), Driver("470.256.02", "x")).reason

    assert "470.256.02" in reason
    assert "525.60.13" in reason


def test_what_the_machine_is(tmp_path: Path) -> None:
    file(tmp_path, "sys/class/dmi/id/sys_vendor", "Amazon EC2\n")
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    file(tmp_path, "usr/bin/cloud-init")
    facts = system.read(tmp_path)

    assert (facts.virt, facts.init, facts.cloud_init) == ("vm:Amazon EC2", "systemd", True)


def test_an_unreadable_file_is_as_good_as_none(tmp_path: Path) -> None:
    (tmp_path / "sys/module/nvidia").mkdir(parents=True)
    (tmp_path / "sys/module/nvidia/version").mkdir()

    assert gpu.driver(tmp_path) is None
