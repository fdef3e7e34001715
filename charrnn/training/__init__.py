"""A training run: made, trained, watched, resumed."""
