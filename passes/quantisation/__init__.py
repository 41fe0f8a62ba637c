"""From a float graph and samples to integers: ranges, scales, integer nodes, and the noise that they add."""
