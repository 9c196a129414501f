"""What can go wrong, in four kinds.

Every message is one line that says where it happened, what came, what was expected and what to do.
"""

__all__ = ["ArtifactError", "ConfigError", "DataError", "RecsysError", "TrainingDiverged"]


class RecsysError(Exception):
    """Base of all errors that a user can act on; the command line prints them without a trace."""


class ConfigError(RecsysError):
    """The configuration or a call's arguments cannot be used."""


class DataError(RecsysError):
    """A log, catalogue, vector file or split cannot be used."""


class ArtifactError(RecsysError):
    """A file that this project wrote is missing, damaged, or does not belong to its neighbours."""


class TrainingDiverged(RecsysError):
    """The loss stopped being a finite number."""
