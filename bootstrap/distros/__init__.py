"""What differs between distros: data in `distros/*.yml`, read by `load`, in the terms of `schema` and `requirements`."""

from bootstrap.distros.load import find, load_all, match, name_of

__all__ = ["find", "load_all", "match", "name_of"]
