"""The command line."""

from edgewright.frontend.cli.app import app, main

__all__ = ["app", "main"]
