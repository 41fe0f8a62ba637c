"""Attention by hash codes: where it can stand, what it saves, and how it gets there."""
