"""The passes that make a model smaller: options, run, resumption and measurement, for `optimise` and `compile`."""
