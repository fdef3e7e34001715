"""A character-level recurrent language model: train, sample, evaluate."""
