"""One operator a module; this list is the language."""

from __future__ import annotations

from edgewright.passes.ops.add import Add
from edgewright.passes.ops.add_requantised import AddRequantised
from edgewright.passes.ops.attention import Attention
from edgewright.passes.ops.batch_normalization import BatchNormalization
from edgewright.passes.ops.cast import Cast
from edgewright.passes.ops.clip import Clip
from edgewright.passes.ops.concat import Concat
from edgewright.passes.ops.constant import Constant, array_of, constant, scalar_of, value_of
from edgewright.passes.ops.conv import Conv
from edgewright.passes.ops.conv_transpose import ConvTranspose
from edgewright.passes.ops.dequantise import Dequantise
from edgewright.passes.ops.div import Div
from edgewright.passes.ops.elementwise import Elementwise
from edgewright.passes.ops.erf import Erf
from edgewright.passes.ops.exp import Exp
from edgewright.passes.ops.gather import Gather
from edgewright.passes.ops.gelu import Gelu
from edgewright.passes.ops.hard_swish import HardSwish
from edgewright.passes.ops.hash_attention import HashAttention
from edgewright.passes.ops.hash_codes import HashCodes
from edgewright.passes.ops.input import Input, graph_input
from edgewright.passes.ops.layer_normalization import LayerNormalization
from edgewright.passes.ops.linear import Linear
from edgewright.passes.ops.matmul import MatMul
from edgewright.passes.ops.max import Max
from edgewright.passes.ops.min import Min
from edgewright.passes.ops.moe import MoE
from edgewright.passes.ops.mul import Mul
from edgewright.passes.ops.neg import Neg
from edgewright.passes.ops.patch_embed import PatchEmbed
from edgewright.passes.ops.pow import Pow
from edgewright.passes.ops.quantise import Quantise
from edgewright.passes.ops.reciprocal import Reciprocal
from edgewright.passes.ops.reduce_mean import ReduceMean
from edgewright.passes.ops.reduce_sum import ReduceSum
from edgewright.passes.ops.relu import Relu
from edgewright.passes.ops.requantise import Requantise
from edgewright.passes.ops.reshape import Reshape
from edgewright.passes.ops.rms_normalization import RMSNormalization
from edgewright.passes.ops.sigmoid import Sigmoid
from edgewright.passes.ops.sign import Sign
from edgewright.passes.ops.silu import Silu
from edgewright.passes.ops.slice import Slice
from edgewright.passes.ops.softmax import Softmax
from edgewright.passes.ops.sqrt import Sqrt
from edgewright.passes.ops.sub import Sub
from edgewright.passes.ops.table import Table
from edgewright.passes.ops.tanh import Tanh
from edgewright.passes.ops.transpose import Transpose
from edgewright.passes.ops.where import Where

__all__ = [
    "Add",
    "AddRequantised",
    "Attention",
    "BatchNormalization",
    "Cast",
    "Clip",
    "Concat",
    "Constant",
    "Conv",
    "ConvTranspose",
    "Dequantise",
    "Div",
    "Elementwise",
    "Erf",
    "Exp",
    "Gather",
    "Gelu",
    "HardSwish",
    "HashAttention",
    "HashCodes",
    "Input",
    "LayerNormalization",
    "Linear",
    "MatMul",
    "Max",
    "Min",
    "MoE",
    "Mul",
    "Neg",
    "PatchEmbed",
    "Pow",
    "Quantise",
    "RMSNormalization",
    "Reciprocal",
    "ReduceMean",
    "ReduceSum",
    "Relu",
    "Requantise",
    "Reshape",
    "Sigmoid",
    "Sign",
    "Silu",
    "Slice",
    "Softmax",
    "Sqrt",
    "Sub",
    "Table",
    "Tanh",
    "Transpose",
    "Where",
    "array_of",
    "constant",
    "graph_input",
    "scalar_of",
    "value_of",
]
