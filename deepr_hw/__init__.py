"""Train a network inside a strict budget of K connections and ship the very same bits to every target."""

from .version import __version__

__all__ = ["__version__"]
