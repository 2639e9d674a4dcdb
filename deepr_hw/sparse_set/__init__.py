"""DEEP R itself: K connections under strict budgets, their step, death and rebirth. Knows no layer."""
