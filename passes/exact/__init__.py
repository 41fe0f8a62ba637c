"""Rewrites that keep a float graph's function, within float rounding."""
