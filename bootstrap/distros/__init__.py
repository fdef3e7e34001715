"""What differs between distros: data in `distros/*.yml`, read by `load`; what it may say is in `schema`."""

from bootstrap.distros.load import find, load_all, match, name_of

__all__ = ["find", "load_all", "match", "name_of"]
