"""The long texts of the codes this room raises: first line the title, then what it means and what to do."""

from __future__ import annotations

CODES: dict[str, str] = {
    "A001": """the graph is quantised
The pass rewrites or learns real numbers, and this graph has integers already: its scales are baked in, and what is
learned now would be rounded by ranges that no longer hold. Run passes on the float model; quantisation comes last.""",
    "A002": """blocks with hashed attention cannot be fused
The hash functions of a layer were learned from its own queries. A fused block has other weights and other queries, for
which those functions mean nothing. Fuse first, then hash what remains: `--fuse-blocks` and `--hash-attention` together
run in this order.""",
    "A003": """a model with hashed attention cannot be split
Splitting by classes takes channels away from every layer, also those that hash functions were learned from. Split the
model first; the attention of each sub-model can be hashed afterwards.""",
    "A004": """a sub-model cannot be split again
A sub-model knows some classes and has one more output, "other", for the rest. Splitting it again would need samples of a
class that is none. Split the whole model into more parts instead.""",
    "A005": """blocks of a model with experts cannot be fused
FuseBlocks writes the weights of a removed block into its neighbours. The experts of a block belong to its router, and a
neighbour has none to take them. `--task` and `--usage-threshold` make such a model smaller.""",
    "A006": """a model with experts cannot be split by classes
Splitting makes all blocks smaller alike: channels, heads and hidden units. Experts and their router have no such shape.
Tasks divide such a model better: `--task NAME` gives one device what one task needs.""",
    "E010": """a task that the model does not have
--task keeps one output, named like the task, and everything it needs. The message lists the outputs that there are; they
have the names that the ONNX file gives them.""",
    "E011": """--task on a model of one task
The model has one output, so there are no other tasks' routers and heads to drop.""",
    "E012": """--task or --usage-threshold on a model without experts
Both drop what a mixture of experts does not need. No such layer was found: either the model has none, or the exporter's
spelling was not recognised; `edgewright inspect` shows the graph as it was read.""",
    "E013": """a usage threshold that is no share
Experts that a smaller share of the tokens chooses are dropped: a number from 0 to below 1. As every token chooses K
experts, the shares of a layer add up to K.""",
    "E014": """a usage threshold without samples
How often an expert is chosen is counted on samples like those the model will see: give them with --data.""",
    "G001": """a graph has a cycle
A value of the graph depends on itself. Graphs are made from ONNX files, which cannot hold one, so a pass has tied a
knot: a bug in Edgewright. The message names the pass.""",
    "G002": """inputs or outputs are not named once each
Every input and output of a graph has a name of its own. Please report it with the message.""",
    "G003": """a value does not have the type its operator gives
A pass left a node whose shape or element differs from what its operands imply: a bug in Edgewright.""",
    "G004": """an operator at the wrong level
A float operator in an integer graph, or the other way round: a bug in Edgewright.""",
    "G005": """a constant outside the range of the integer arithmetic
Weights lie in [-127, 127], multipliers in [2^15, 2^16), shifts in [1, 47], a LayerNorm's factors below 2^16 and its
offsets below 2^47. The hardware relies on it. A pass has left another value: a bug in Edgewright.""",
    "G006": """a pass on a graph of the wrong level
Passes say whether they take float or integer graphs, and are listed in their order in passes/pipeline.py.""",
    "G090": """a checkpoint cannot be read
The file with a graph that an earlier run left is damaged, cut short, or of another version. Compile the model again
from its ONNX file.""",
    "H001": """too few calibration samples to learn hash functions from
Hash functions are fitted to the tokens of calibration samples: some become support samples, all of them say which tokens
attend to which. The message says how many samples it takes; 64 or more are better. No labels are needed.""",
    "H002": """there is no attention to hash
The model has no softmax attention that was recognised, or all of it is hashed already. `edgewright inspect` lists the
operators that were read: an exporter's spelling of attention that is not recognised shows as MatMul and Softmax.""",
    "H003": """an attention layer that does not exist
Layers are named by their position, counted from 0 in the order of the data. The message says how many there are.""",
    "H004": """an attention layer that cannot be hashed
One code of each token stands for its query and its key, and tokens are weighted by their codes alone. So queries and keys
must come from the same tokens (no cross-attention, no keys of a reduced map), and nothing may be added to scores (masks,
position biases). `--hash-attention all` leaves such layers out.""",
    "H005": """no attention layer is that long
With `--hash-attention ">=N"` layers of N tokens or more are hashed. The message says which lengths there are.""",
    "H006": """hashing pays in no layer
Hashing replaces the scores of a layer and the sums weighted by them, which grow with the square of the tokens. Where these
take less than a quarter of a transformer block's energy (EcoFormer's figures for each multiplication and addition), the
projections and the feed-forward network decide what the model costs, and codes cost accuracy for little. For DeiT-Tiny, of
197 tokens, the share is 15 %. Name layers to hash them all the same.""",
    "H007": """hash functions that integers cannot hold
The integer form of a hash function keeps its sums in 32 bits, for up to 512 support samples and heads of up to 1,024
channels. EcoFormer uses 25 support samples; more than that change little.""",
    "Q001": """an operator has no integer form
The integer level of a graph, which the FPGA targets run, has: products with constant weights (Linear, patch
embedding), attention, LayerNorm, sums of two values, the mean over tokens, functions of one value (GELU, ReLU,
HardSwish, SiLU, sigmoid, tanh), and moves (concatenation, slices, reshape, transpose). Anything else is refused,
all at once, with the names of the ONNX nodes. Often an exporter's idiom was not recognised: `edgewright inspect`
shows the graph as it was read.""",
    "Q002": """weights that are computed
A product's weights or a LayerNorm's factors depend on an input. Integer weights are prepared before the graph runs,
so they must be constants of the model.""",
    "Q003": """accumulators may become too large
The engine keeps 27 bits of an accumulator. The bound is computed from the actual weights and bias of the layer (or
the number of tokens), with every activation at its largest; it must stay below 2^26. A weight matrix of up to 2,048
inputs always fits. For a wider layer, split its inputs and add the halves.""",
    "Q004": """a normalisation is too wide
Its integer form computes N sum(x^2) - sum(x)^2 exactly, which fits 52 bits for up to 1,024 channels of int16.""",
    "Q005": """weights are nan or infinite
No integer stands for nan or infinity. Training has diverged, or the checkpoint or the export is damaged.""",
    "Q006": """values are not finite on the calibration samples
Running the float model on the calibration samples gave infinity or nan at the node named. Usually the samples are not
preprocessed as in training (raw 0..255 instead of normalised values, for instance).""",
    "Q007": """a scale ratio the integer arithmetic cannot hold
A value would have to be multiplied by 2^15 or more to reach its next form: on the calibration samples it is nearly 0, less
than one integer step of what it is computed from. The message names both and their sizes. Use samples like those the model
will see, or look for weights that vanish; float32 on a CPU has no such limit.""",
    "Q010": """the model's values take too much memory
Calibration, accuracy and verification evaluate the model in numpy, with one sample's values at 4 or 8 bytes an element. The
largest sum of values that are alive at the same time (and, in an attention, of its scores) is known from the shapes, and
more than 2 GiB is refused before anything is evaluated. The message names the value at which the sum is largest. A smaller
input is the usual way out; a file of a few hundred bytes that doubles a value many times is damaged or hostile.""",
    "Q014": """an output holds integers of the model
Every value of an integer graph is an int8 or int16 that stands for a real number at a scale chosen on the samples. An output
that passes ids, a mask or counts on has no such scale, and rounding would change it. The application has these values
already; omit the output from the export. float32 on a CPU gives it unchanged.""",
    "F001": """there are no transformer blocks
Blocks are found by their shape: attention whose result is added to its input, then a feed-forward network (two products,
or experts) whose result is added to its own. The model has none, or writes them in a way that was not recognised;
`edgewright inspect` shows the graph as it was read.""",
    "F002": """fewer blocks can go than are to go
A block goes only into a neighbour of equal form (same operators, widths, heads and tokens), and one of each such run
stays. Blocks that differ are never grouped: a pyramid's stages are fused each by itself. A block that somebody else
reads in the middle, or that already has no neighbour of its form, stays as well.""",
    "F003": """a share or number of blocks that makes no sense
--fuse-blocks takes a share between 0 and 100 % of all blocks, rounded up, or a whole number of 1 and more.""",
    "F004": """blocks with hashed attention are not fused
Hash functions are learned from the queries and keys of their own block and kept as tables; what they would give on a
block with other projections is arbitrary. Fuse blocks first, then hash the attention of those that remain.""",
    "F005": """blocks with experts are not fused
The router of a mixture of experts chooses among its own experts, whose order is arbitrary: expert 3 of one block has no
counterpart in another, so that no product of the one can absorb that of the other. Experts are made fewer by
--task and --usage-threshold.""",
    "K001": """the model has no classifier to split
Splitting gives each device some of the classes, so the model has to end in one linear layer whose outputs are the
scores of classes, one row for each sample (a softmax behind it does no harm). A model with several tasks has one
classifier after `edgewright optimise --task NAME`.""",
    "K004": """more devices than classes
Every sub-model has classes of its own. With more devices than classes some would have none.""",
    "K005": """the fleet cannot hold the model
Sub-models are made smaller, the heaviest first, until each fits the memory, computing and energy limits of a device;
even the smallest ones do not. The message names each device's limits and what the smallest sub-model needs, which is
the smallest device that would do. Memory is counted as float32 weights and the most activations alive at once.""",
    "K006": """blocks of unequal shape
All blocks of a sub-model are made smaller alike, so those of the model have to be alike: same width, heads and hidden
units, softmax attention, one dense feed-forward network.""",
    "K007": """there is nothing to make smaller
No residual stream with attention and feed-forward layers was found whose channels, heads and hidden units could go.""",
    "K008": """the training to resume is another one
The folder of checkpoints belongs to another model, other data or other options (the message says which). Without
--resume the training begins anew. A folder that holds anything other than a training is left alone.""",
    "K013": """a size that no sub-model can have
--size is the share of the model's parameters that one sub-model may keep: more than 0, at most 1.""",
    "L001": """torch is not installed
Passes that learn (fusing blocks, hashing attention, splitting classes) train with torch, which is an extra of its own:
pip install 'edgewright[train]'. Everything else works without it.""",
    "L002": """the samples do not belong together
Every array of the data has one sample a row, so that all have the same length, and labels too. The message says how
many each has.""",
    "L003": """labels that are no whole numbers
A label is the number of a class, counted from 0. One-hot rows become labels by taking the largest element's position.""",
    "L004": """labels out of range
A head of N classes knows the labels 0 to N - 1. Either the classes are numbered from 1, or the data is of other classes
than the model.""",
    "L005": """classes without a sample
The step measures or learns something for every class of the model's head, so the data has to show each.""",
    "L006": """too few samples
The step learns from samples, and fewer than the message names would teach it their accidents.""",
    "L007": """the data has no labels
Accuracy, and what learns from labels, needs an array named labels beside the inputs in the file given with --data.""",
    "L008": """training diverged
The loss became infinite or nan. Nothing was changed by that step, and the checkpoint before it is whole. Mostly the
learning rate is too high, or the samples are not preprocessed as the model expects.""",
    "L009": """a training checkpoint that does not fit
A run goes on from a checkpoint only if its settings, its data and the weights it started from are the same; then it ends
with the same bits as without the interruption. Delete the file to start anew.""",
    "L010": """data that does not fit the model
The arrays of the data are named like the model's inputs and have one sample of their shape a row.""",
    "U010": """an option has no such value
Calibration chooses the range of every value from samples: "mse" keeps the range with the least squared error,
"percentile" cuts a fixed share of the largest values, "minmax" keeps everything that was seen.""",
    "T057": """the cache of compiled files cannot be used
Kernels, the runner and simulators are compiled once and kept in $EDGEWRIGHT_CACHE, else $XDG_CACHE_HOME/edgewright, else
~/.cache/edgewright. That folder cannot be made or written, or its disk is full. Entries that are there and whole are used
even where nothing can be written; everything in it may be deleted at any time.""",
    "T058": """the limit of the cache is not a number
EDGEWRIGHT_CACHE_MB is how many MB of each kind (kernels, runners, simulators ...) the cache keeps; what was unused for
longest goes first. It takes a whole number and is 4096 when it is not set.""",
}
