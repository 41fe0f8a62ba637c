"""What a model is made of, read off its graph: its blocks, its classifier, the units that can be pruned."""
