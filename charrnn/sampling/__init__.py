"""Text from a network."""

from charrnn.sampling.generation import generate, sample

__all__ = ["generate", "sample"]
