"""Samples for a model's inputs, with labels if there are any, and how right a model is on them."""
