"""Train a network inside a strict budget of K connections and ship the very same bits to every target."""

from typing import TYPE_CHECKING, Any

from .version import __version__

if TYPE_CHECKING:
    from .estimator import DeepRClassifier

__all__ = ["DeepRClassifier", "__version__"]


def __getattr__(name: str) -> Any:
    """``DeepRClassifier`` on first use: importing the package alone stays light."""
    if name == "DeepRClassifier":
        from .estimator import DeepRClassifier

        return DeepRClassifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
