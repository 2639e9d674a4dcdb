"""DEEP R: what dies is replaced at once, inside the compiled step (``sparse_set/rewire.py``).

Source: Bellec, Kappel, Maass, Legenstein, ICLR 2018.
"""

from .base import Method


class DeepR(Method):
    """The method that the others are compared with."""

    name = "deep_r"
    dies = True
    rewires = True
