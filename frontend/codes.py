"""Long texts of the reader's (N, E) and data's (D) error codes, for `edgewright explain`. First line: the title."""

from __future__ import annotations

CODES: dict[str, str] = {
    "E001": """a router that does not match its experts
Each output of a router belongs to one expert. Sent to some expert by its router, a token gets nothing, or (for
com.microsoft::MoE) the number of router outputs differs from the number of experts in the weights. The export lost an
expert, or the router belongs to another layer.""",
    "E002": """a token chooses more experts than there are
K is larger than the number of experts N, or below 1. The ONNX operators TopK and com.microsoft::MoE have no meaning then.""",
    "E004": """a mixture of experts is not recognised
There are a choice of the best (TopK) and activations behind it, but they do not compute sum_k p_k f_k(x) with experts of
two products and one activation, gated by a softmax over all logits or over the chosen ones. The message says what does not
fit. Gated activations (SwiGLU), a third product, capacity limits and noise at inference are not read.""",
    "N001": """model file not found or unreadable
The path given for the model is not a regular file that can be read. Nothing has been written.""",
    "N002": """not an ONNX model
The file is not a complete ONNX protobuf message: it is another kind of file, it was cut short while it was copied, or
it holds no graph. Export the model again, or fetch the file again.""",
    "N004": """model does not fit in memory
The sizes that the file declares are larger than what this machine can hold. They are added up before anything is
allocated, so a damaged size is reported here too.""",
    "N005": """tensor's size disagrees with its bytes
Shape times element size must equal the bytes stored, in the file or beside it. A mismatch means damage, or a data file
that belongs to another model.""",
    "N006": """element type not supported
Models are read in float32 (float64, float16 and bfloat16 weights are converted); shapes and indices are integers.
Inputs are float32, or int8, int16, int32, int64, uint8 (ids, masks, pixels) and bool (masks). Strings, 4- and 8-bit
floats, sparse tensors, sequences and optionals are not read. Quantisation happens here, so
export the float model rather than one that another tool has quantised.""",
    "N007": """external data missing
Large models keep their weights in a second file beside the .onnx file. It must be in the same folder under the name
that the model gives.""",
    "N008": """external data outside the model's folder
The model asks for a file by an absolute path, through `..`, or through a symbolic link that leads out of its folder.
Such a model could read any file of yours into the result, so it is refused before anything is opened.""",
    "N009": """NaN or infinite weight
A weight is not a number or is infinite, so the model computes nonsense, and no integer scale exists for it.""",
    "N010": """opset not supported
Models from ONNX opset 11 to 23 are read; `torch.onnx.export(..., opset_version=18)` sets
one, and onnx.version_converter changes that of an existing file.""",
    "N011": """invalid graph
The graph breaks ONNX's rules: an undefined or twice defined name, a cycle, an unknown attribute, contradicting shapes.
`onnx.checker.check_model(path, full_check=True)` usually says more.""",
    "N012": """open dimension
Hardware is planned for one size. An open batch (first axis of an input) becomes 1; any other open dimension needs
--shape NAME=1,3,224,224 with numbers for all axes.""",
    "N013": """operator of a custom domain
Operators such as com.microsoft.FusedMatMul belong to one runtime. They appear when a model is saved after that
runtime's optimiser; use the model as exported.""",
    "N014": """operator with a subgraph
If, Loop and Scan choose at run time what to compute. Exporting by tracing, with fixed shapes, usually removes them.""",
    "N015": """operator unknown at the model's opset
The model declares an opset that does not have this operator: the file was edited by hand, or converted wrongly.""",
    "N016": """--shape does not fit the model
A shape was given for an input that does not exist, or against what the model says. Give numbers for all axes; those
the model fixes must be repeated.""",
    "N020": """the model is quantised already
Another tool has put integers into the model: pairs of QuantizeLinear and DequantizeLinear, operators such as
QLinearConv, or those of QONNX. Integers are chosen here instead, for the target, so that every machine computes the
same bits; give the float model. Weights alone may be stored in integers, each behind a DequantizeLinear of constants:
those are read.""",
    "N017": """operator not supported
The graph has no operator for this one. All such operators are listed together. CONTRIBUTING says how
to add one.""",
    "N018": """this use of an operator is not supported
The operator is known, but not with these attributes, shapes or operands: the reason is in the message.""",
    "N019": """input used as a mask and as indices
Masks are numbers that are 0 or 1, and counts (the lengths of what is padded) go as far as what they are compared with;
everything a model computes from them is worked out for each. An input that also picks rows of a larger table can be
anything: make the mask an input. (Token ids compared with the padding's id are read.)""",
    "N023": """a name that no data file can hold
Samples and results are kept in npz files, by the names of inputs and outputs. A NUL character, or more than 60,000 bytes,
cannot be part of such a name. Rename it in the model and export it again.""",
    "N024": """a value of this model is too large
Values of up to 2^26 elements are computed (2^27 at the same time). A few bytes in a model can ask for any size: Tile,
Expand, Resize, Pad, products of a column and a row. It is refused before anything of that size is allocated.""",
    "N025": """the model's batch cannot become 1
Samples are compiled one at a time. --shape asked for a first axis of 1 where the model has a fixed one, and an operator
(named in the message: a Reshape to fixed numbers, a constant with a row for each sample) does not allow it. Without --shape
the whole batch is compiled as one sample; better, export the model with batch 1.""",
    "N026": """the model was traced for another length
An export by tracing writes sizes of its example into the model, even where the input's axis is declared open: a Reshape to
20 tokens, a table of 20 positions. The model then works at that length only. Use it, or export again.""",
    "D001": """data file not found or unreadable
The path given for calibration or test data is not a regular file that can be read.""",
    "D002": """not an npz file
Data is read from .npz files, as numpy.savez writes them: one array for each input of the model under its name (or
`images` for a model of one input), and optionally `labels`.""",
    "D003": """pickled array refused
An array of Python objects is stored as a pickle, and loading a pickle runs code. Save plain numeric arrays.""",
    "D004": """no array for an input
The file has no array under the input's name, nor `images` or `calib` for a model of one input.""",
    "D005": """data of the wrong shape or type
Images are floating point, normalised as in training, one per row: (count, channels, height, width). Bytes are never
scaled here: divide and normalise them as in training, or let the model take uint8. Masks are 0 and 1, as integers or bool.
Labels are integers, one for each image.""",
    "D006": """data out of range
NaN, infinite, too large for float32, integers that the model cannot take, or, where scales are taken from the data, the
same value everywhere.""",
    "D007": """data does not fit in memory
The arrays that the file declares are larger than what this machine can hold.""",
}
