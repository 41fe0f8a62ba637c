"""The passes that make a model smaller, asked for, run, resumed and measured: `optimise`, and `compile`'s first stage."""
