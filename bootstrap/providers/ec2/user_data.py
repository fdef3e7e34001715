"""What a new instance is told at its first boot: its host key, and when to end itself.

The host key is there before sshd starts, so the first connection is verified like any other. The end is armed on
every boot, before anything of ours runs and without SSH: `shutdown` needs logind, which may not be up that early, so
a timer of systemd's stands in for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from bootstrap.providers.ec2.keys import KeyPair

LIMIT = 16384
"""The most bytes of user data that EC2 takes."""


class _Literal(str):
    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    pass


def _block(dumper: yaml.SafeDumper, text: _Literal) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|")


_Dumper.add_representer(_Literal, _block)


def make(host_key: KeyPair, minutes: int) -> str:
    """Return the `#cloud-config` for an instance that may live `minutes` minutes after each boot."""
    if minutes < 1:
        raise ValueError("an instance must be allowed a minute at least")
    arm = f"shutdown -P +{minutes} || systemd-run --on-active={minutes}min systemctl poweroff"
    config = {
        "ssh_deletekeys": True,
        "ssh_keys": {"ed25519_private": _Literal(host_key.private), "ed25519_public": host_key.public},
        "bootcmd": [["sh", "-c", arm]],
        "runcmd": [["shutdown", "-P", f"+{minutes}"]],
    }
    text = "#cloud-config\n" + yaml.dump(config, Dumper=_Dumper, sort_keys=False, width=1000)
    if len(text.encode()) > LIMIT:
        raise ValueError("the user data is larger than EC2 takes")
    return text
