"""Networks on disk: this trainer's own, and those of the original char-rnn."""
