"""dabench: a benchmark suite and leaderboard for domain adaptation of image classifiers."""

from dabench.core import (
    AccessError,
    DabenchError,
    Diverged,
    Domain,
    Domains,
    MissingData,
    Needs,
    NotApplicable,
    Protocol,
    Recipe,
    Reference,
    Setting,
    Task,
    register,
)

__version__ = "0.1.0"

__all__ = [
    "AccessError",
    "DabenchError",
    "Diverged",
    "Domain",
    "Domains",
    "MissingData",
    "Needs",
    "NotApplicable",
    "Protocol",
    "Recipe",
    "Reference",
    "Setting",
    "Task",
    "register",
]
