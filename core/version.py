"""The version of this installation, as the API and the instances report it."""

from importlib.metadata import version

VERSION = version("forge")
