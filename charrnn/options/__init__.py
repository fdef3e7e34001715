"""The trainer's options: one table, from which the command line, its checks and docs/flags.md are made."""
