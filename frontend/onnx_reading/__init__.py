"""From an ONNX file to a graph of this compiler: checks, folding, one reader per operator."""
