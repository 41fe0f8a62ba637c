"""A third kind of target, in one folder: a table of what the interpreter says of the samples that stay with the bundle."""
