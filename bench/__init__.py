"""Measurements behind the README's tables; each script prints its table and the machine it ran on."""
