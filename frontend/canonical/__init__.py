"""What exporters spell in many ways, as the operators that they mean: rules from graph to graph."""
