"""Random positions, never changed: what every search of positions has to beat."""

from .base import Method


class Fixed(Method):
    """Nothing comes, nothing goes."""

    name = "fixed"
