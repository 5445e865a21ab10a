"""The command line."""

from dabench.cli.app import main

__all__ = ["main"]
