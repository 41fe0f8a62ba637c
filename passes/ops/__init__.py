"""One operator a module; this list is the language."""

from __future__ import annotations

from .add import Add
from .add_requantised import AddRequantised
from .attention import Attention
from .batch_normalization import BatchNormalization
from .concat import Concat
from .constant import Constant, constant, value_of
from .conv import Conv
from .dequantise import Dequantise
from .div import Div
from .erf import Erf
from .exp import Exp
from .gather import Gather
from .gelu import Gelu
from .hard_swish import HardSwish
from .input import Input, graph_input
from .layer_normalization import LayerNormalization
from .linear import Linear
from .matmul import MatMul
from .mul import Mul
from .neg import Neg
from .patch_embed import PatchEmbed
from .pow import Pow
from .quantise import Quantise
from .reciprocal import Reciprocal
from .reduce_mean import ReduceMean
from .reduce_sum import ReduceSum
from .relu import Relu
from .requantise import Requantise
from .reshape import Reshape
from .sigmoid import Sigmoid
from .silu import Silu
from .slice import Slice
from .softmax import Softmax
from .sqrt import Sqrt
from .sub import Sub
from .table import Table
from .tanh import Tanh
from .transpose import Transpose

__all__ = [
    "Add",
    "AddRequantised",
    "Attention",
    "BatchNormalization",
    "Concat",
    "Constant",
    "Conv",
    "Dequantise",
    "Div",
    "Erf",
    "Exp",
    "Gather",
    "Gelu",
    "HardSwish",
    "Input",
    "LayerNormalization",
    "Linear",
    "MatMul",
    "Mul",
    "Neg",
    "PatchEmbed",
    "Pow",
    "Quantise",
    "Reciprocal",
    "ReduceMean",
    "ReduceSum",
    "Relu",
    "Requantise",
    "Reshape",
    "Sigmoid",
    "Silu",
    "Slice",
    "Softmax",
    "Sqrt",
    "Sub",
    "Table",
    "Tanh",
    "Transpose",
    "constant",
    "graph_input",
    "value_of",
]
