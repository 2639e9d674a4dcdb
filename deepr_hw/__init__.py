"""Train a network inside a strict budget of K connections and ship the very same bits to every target."""

from typing import TYPE_CHECKING, Any

from .version import __version__

if TYPE_CHECKING:
    from .estimator import DeepRClassifier, DeepRRegressor

__all__ = ["DeepRClassifier", "DeepRRegressor", "__version__"]


def __getattr__(name: str) -> Any:
    """The estimators on first use: importing the package alone stays light."""
    if name in ("DeepRClassifier", "DeepRRegressor"):
        from . import estimator

        return getattr(estimator, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
