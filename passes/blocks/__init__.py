"""Transformer blocks: found, weighed, taken out, and fused into their neighbours."""
