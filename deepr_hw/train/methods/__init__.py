"""How connections come and go under a budget: DEEP R, and its rivals on the same code. A file per method.

The last four are dense by nature: they hold a value for every position and meet the budget only at the end.
"""

from .base import Method
from .deep_r import DeepR
from .evolution import Evolution
from .fixed import Fixed
from .gradual import Gradual
from .l1 import L1
from .magnitude import Magnitude
from .rigl import RigL
from .soft_deep_r import SoftDeepR

METHODS: dict[str, Method] = {
    method.name: method for method in (DeepR(), Fixed(), Evolution(), RigL(), Magnitude(), Gradual(), L1(), SoftDeepR())
}
"""What ``training.method`` takes."""

__all__ = ["METHODS", "Method"]
