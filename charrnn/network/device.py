"""Which device computes: the one that was asked for, or the best there is."""

import re

import torch

from charrnn.errors import DeviceError


def resolve_device(name: str) -> torch.device:
    """The device that is meant: cpu, cuda, cuda:N, mps; auto is the best there is.

    Raises DeviceError for one that was asked for by name and is not there. On CUDA float32 then means float32: cuDNN
    would multiply in TF32 on its own, in evaluation too, and GPUs that have TF32 train in bfloat16, which is faster.
    """
    device = _find_device(name)
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
    return device


def _find_device(name: str) -> torch.device:
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    if not re.fullmatch(r"cpu|mps|cuda(:\d{1,3})?", name):
        raise DeviceError(f"there is no device {name!r}: choose cpu, cuda, cuda:N, mps or auto")
    device = torch.device(name)
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            build = "" if torch.version.cuda else " (this PyTorch is a CPU build)"
            raise DeviceError(
                f"--device {name}: this machine has {count or 'no'} CUDA GPU{'s' * (count > 1)} that PyTorch "
                f"can use{build}; --device auto takes what is there"
            )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("--device mps: PyTorch finds no Metal GPU here; --device auto takes what is there")
    return device
