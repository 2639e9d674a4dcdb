"""Networks that were trained and pruned elsewhere, as an ``IntNet``."""
