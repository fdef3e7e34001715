"""What can go wrong in the trainer, as the user is told it.

Every failure that a user can cause or meet is one of these: one clear line that says what happened, where,
and what to do. The command line prints that line and exits with `exit_code`; a library user catches
`CharRNNError`.
"""


class CharRNNError(Exception):
    """The root of all errors of this package."""

    default_exit_code = 1

    def __init__(self, message: str, *, exit_code: int | None = None) -> None:
        """`message` is one line for a person; `exit_code` overrides the class's own."""
        super().__init__(message)
        self.exit_code = self.default_exit_code if exit_code is None else exit_code


class UsageError(CharRNNError):
    """Options that do not exist, do not fit together or are out of range."""

    default_exit_code = 2


class CorpusError(CharRNNError):
    """A text that is missing, empty, too short, or not readable as what it was said to be."""

    default_exit_code = 4


class CheckpointError(CharRNNError):
    """A checkpoint that is missing, damaged, or of another kind than what was asked for."""

    default_exit_code = 5


class DeviceError(CharRNNError):
    """A device or a precision that was asked for and that this machine does not have."""

    default_exit_code = 6


class DiskError(CharRNNError):
    """Something that could not be written."""

    default_exit_code = 7


class TrainingError(CharRNNError):
    """A training run that cannot go on."""

    default_exit_code = 8


class LostError(CharRNNError):
    """Everything was done, but part of what was said or recorded of it could not be written."""

    default_exit_code = 9


class InterruptError(CharRNNError):
    """A run that was asked to stop (Ctrl-C, SIGTERM) and has saved what it had to save.

    The exit code is 128 + the signal's number: 130 for SIGINT, 143 for SIGTERM.
    """

    default_exit_code = 130
