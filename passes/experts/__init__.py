"""Mixtures of experts: which experts are used, and graphs without the others."""
