"""From a graph to standard ONNX, in floats and in integers."""
