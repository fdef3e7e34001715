"""Takes bare hosts to the first checkpoint of a training run, and tells how long each part took and why."""

__version__ = "0.1.0"
