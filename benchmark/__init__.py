"""dabench: a benchmark suite and leaderboard for domain adaptation of image classifiers."""

import importlib
from typing import TYPE_CHECKING, Any

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
    between,
    one_of,
    register,
)

if TYPE_CHECKING:
    from dabench.nn import Classifier
    from dabench.run.target_data import Batch, Method, TargetData

__version__ = "0.1.0"

__all__ = [
    "AccessError",
    "Batch",
    "Classifier",
    "DabenchError",
    "Diverged",
    "Domain",
    "Domains",
    "Method",
    "MissingData",
    "Needs",
    "NotApplicable",
    "Protocol",
    "Recipe",
    "Reference",
    "Setting",
    "TargetData",
    "Task",
    "between",
    "one_of",
    "register",
]

_TYPES = {  # of a method's annotations; they bring torch along, which listing names must not
    "Batch": "dabench.run.target_data",
    "Classifier": "dabench.nn",
    "Method": "dabench.run.target_data",
    "TargetData": "dabench.run.target_data",
}


def __getattr__(name: str) -> Any:
    if name not in _TYPES:
        raise AttributeError(f"module 'dabench' has no attribute '{name}'")
    return getattr(importlib.import_module(_TYPES[name]), name)
