"""`forge`, the command: starts the parts, prepares the database, checks the installation. What a command needs is
imported when it runs, so that `forge --help` is quick; this is the one package where that is allowed."""

from cli.app import main

__all__ = ["main"]
