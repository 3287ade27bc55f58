"""The command `ctcnet`: one file per verb."""

from ctcnet.cli.main import main

__all__ = ["main"]
