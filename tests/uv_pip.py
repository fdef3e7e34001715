"""`python -m tests.uv_pip ARGUMENTS`: `uv pip`, with this machine's pip settings, which uv does not read by itself.

For the environment that tests run in: uv takes seconds where pip takes minutes. Only the standard library is needed.
"""

import os
import subprocess
import sys
from pathlib import Path

from bootstrap.install import pip_settings

listing = subprocess.run(
    [sys.executable, "-m", "pip", *pip_settings.LISTING],
    env=os.environ | pip_settings.LISTING_ENVIRONMENT,
    capture_output=True,
    text=True,
    check=True,
)
settings = pip_settings.parse(listing.stdout)
uv = Path(sys.executable).with_name("uv")
command = [str(uv), "pip", *sys.argv[1:], "--python", sys.executable, *settings.uv_arguments()]
os.execve(uv, command, os.environ | settings.uv_environment())
