"""FPGAs: the engine's design and its simulation."""
