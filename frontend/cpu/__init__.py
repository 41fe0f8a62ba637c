"""CPUs: a library, its weights and a runner."""
