"""The long text of an error code."""

from __future__ import annotations

import difflib

from edgewright.frontend import codes as frontend_codes
from edgewright.passes import codes
from edgewright.passes.diagnostics import CompileError, Diagnostic, Exit
from edgewright.sim import codes as sim_codes
from edgewright.targets.cpu import codes as cpu_codes

# Codes of the command line, targets and hardware; the reader, passes/ and sim/ keep their own.
OURS = {
    "C001": """out of memory
The model, its data and what compiling them needs are larger than this machine's memory. Fewer calibration images
need less; DeiT-Tiny's size compiles in 4 GiB.""",
    "C002": """a file or folder cannot be used
The operating system refused a file or folder, for the reason shown: it does not exist, its permissions forbid it, or
its disk is full. Nothing that was there before has been changed.""",
    "C003": """no such error code
`edgewright explain` without a code lists all of them.""",
    "C004": """internal error, a bug in Edgewright
Something failed that should not be able to. The log named in the message holds the command line and the place; please
report it with the model if you can share it. The previous result, if there was one, is untouched.""",
    "D010": """there are no calibration images
Integers need to know the range of each activation, which only images like those the model will see can show. A few
dozen are enough: an .npz file with an array named after the model's input, or `images`, and `labels` to measure
accuracy on. `--calibration random` compiles without: cycles and resources are right, accuracy means nothing, and the
report's first line says so.""",
    "K009": """the fleet cannot be read
A fleet is a TOML file, for example:

    name = "shelf"
    [[device]]
    board = "rpi4"           # edgewright targets lists the names
    count = 3                # default 1
    memory_mib = 8           # default: all of the board's memory
    link_mbit_per_s = 100    # without it no transfer is predicted
    source = "the switch's data sheet; memory: what the other programs leave"
    [[device]]
    board = "zcu104"

Further keys: compute_mmac (most million multiply-adds per inference), energy_mj with power_w (most millijoules per
inference, what the board draws), link_latency_ms. Figures need a `source`; unknown keys are refused.""",
    "K010": """a split folder that is not whole
`edgewright run` compares every file of the folder with the hashes in its manifest before it runs anything. A file is
missing or was changed since `edgewright split` wrote it: split again, or copy the folder again.""",
    "K011": """energy cannot be predicted
A device of the fleet has a limit of energy, which is predicted as power times latency, and its latency cannot be
predicted here; the message says why.""",
    "K012": """heads that the FPGA's array does not take
The engine works on 16 channels at a time: widths are rounded to that, but a head is kept or removed whole, so heads
have to be a multiple of 16 wide in the model already.""",
    "P001": """an operation cannot run on the engine
The engine of an FPGA target runs a fixed set of fused operations, and this one is not among them in this form. Each kind
of operator that stands in the way is named once, with a few of its nodes, what the engine would need for it and a way
out; what only stands around these nodes (a transpose behind a convolution) is not named, and may come to light when they
are gone. The table under "What is supported" in the README lists what the engine runs of each operator.""",
    "P002": """an operation does not fit the engine
The engine is built once for a board, with buffers of the sizes in targets/boards/*.toml. This operation needs a
larger one; the message says which and by how much. A board with more resources, or a smaller model, helps.""",
    "P003": """the model does not fit the board
The resource that overflows is named, with what is needed and what the board has.""",
    "P004": """the model leaves nothing to compute
Every output is an input or a constant, or a part of one. An engine runs a program of at least one operation. Usually an
exporter folded the model into its outputs: look at it with `edgewright inspect`, and export it with its inputs.""",
    "T001": """there is no such target
`edgewright targets` lists the boards. A new board is one TOML file in targets/boards; CONTRIBUTING.md has the
steps.""",
    "T002": """nothing can be compiled for this target yet
The board's data sheet is known, but the compiler does not produce a design for it yet, for the reason shown.""",
    "T003": """the engine computes in int8 only
FPGA engines multiply 8-bit integers; float32 models run on the CPU targets. `edgewright targets` lists them.""",
    "T023": """there are no such kernels
`--variant` names a set of micro-kernels for CPUs, one for each instruction set; the message lists them. Without it the
target's own are taken, and for `host` the fastest that this machine runs.""",
    "T025": """the target has no GPU that code is made for
`--gpu` adds CUDA code for the GPU of a Jetson to its artifact, in the folder cuda/: sources, a plain header, weights, and
machine code where a CUDA compiler was found. Nobody has run it on a GPU yet; an emulation on the CPU has.""",
    "T024": """there are no kernels for this machine's architecture
`--target host` compiles for the machine that runs the compiler, and kernels exist for x86_64 and aarch64. Boards can be
compiled for anywhere.""",
    "U030": """an option has no such value
The options that choose passes take values of their own forms: `--fuse-blocks 25%` or `2`, `--hash-attention all`, `auto`,
`0,2,3` or `'>=128'` (quoted, for the shell), `--usage-threshold 0.01`. The message says what this one stands for.""",
    "U031": """a pass has nothing to learn from
Dropping experts that are rarely chosen, fusing blocks and hashing attention decide on samples like those the model will
see. `--data train.npz` gives them: an array named after the model's input, or `images`, and `labels` to measure accuracy
on. Samples to learn from only come as `train_images` and `train_labels`, or as `calib`; otherwise some are held out.""",
    "U032": """the checkpoint folder is taken
`--checkpoints DIR` keeps what an interrupted run continues from. A folder belongs to one run: one model, one data file,
one set of options. `--resume` continues it to the same result; another run needs another folder.""",
    "U033": """the checkpoint was reshaped in another way
`--from passes`, `plan` and `emit` start from the model that the passes of the last run left in the output folder. Other
passes were asked for this time: start with `--from reshape`, or leave the options of the passes away.""",
    "U034": """an option without what it is for
Some options belong to others: `--resume` continues a run in the folder of `--checkpoints`, and the passes that learn are
asked for by options of their own. The message says what is missing.""",
    "U020": """the output cannot be written
The folder or file given with -o cannot be made or replaced. Folders that hold something other than an earlier result,
devices, pipes, and links that lead nowhere are never overwritten. A link to a folder stays, and the result goes where it
leads. The current folder cannot be replaced: an empty -o, from a variable that is not set, names it too.""",
    "U024": """a file in the output folder would be lost
Compiling into an earlier result replaces the files that its manifest lists, if they are as they were written. Files that
you added stay where they are. The file named here was changed since it was written, or the new result has a file of its
own in this place: move it away, delete it, or choose a new folder. Reports and profiles of earlier versions bear no seal,
so they cannot be told from files of yours: delete report.html and report.json (profile.html, profile.json) once.""",
    "U025": """what the run continues from is damaged
`--resume` reads what each finished pass left in the folder of --checkpoints, and one of these files cannot be read. Remove
the folder to start anew, or name another one.""",
    "U027": """a split without training
`edgewright split` cuts sub-models out of a classifier, gives each a new head with a class "other", and puts a new network
behind all of them that fuses their features. Head and network start from random values, so a split that nobody trains
answers at random: there is no `--epochs 0`. Small fractions, like 0.1, are quick and show what comes out.""",
    "U021": """there is nothing to start from
`--from passes`, `plan` and `emit` continue from what an earlier compilation left in the output folder. Compile the
model once without --from into that folder.""",
    "U022": """this folder is no compiled model
`edgewright simulate` takes the folder that `edgewright compile` wrote; it has a manifest.json.""",
    "U023": """a file of the bundle is not what the compiler wrote
manifest.json holds the hash of every file, and simulating something else would prove nothing; what it says itself has to
agree with the files. Compile the model again, into a new folder or after the file was moved away; to try a change of your
own, change the compiler or a copy of the files.""",
}


def texts() -> dict[str, str]:
    """Code -> text, whose first line is the title."""
    return dict(sorted({**OURS, **frontend_codes.CODES, **codes.CODES, **sim_codes.CODES, **cpu_codes.TEXTS}.items()))


def text(code: str) -> str:
    """What `edgewright explain CODE` prints; an unknown code is a usage error that suggests the nearest."""
    known = texts()
    wanted = code.strip().upper().removeprefix("ERROR").strip("[]: ")
    if wanted not in known:
        near = difflib.get_close_matches(wanted, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}? " if near else ""
        help_text = f"{hint}`edgewright explain` lists every code"
        raise CompileError([Diagnostic("C003", f"there is no error code '{code}'", help=help_text)], Exit.USAGE)
    title, _, body = known[wanted].partition("\n")
    return f"{wanted}: {title}\n\n{body.strip()}".strip()


def overview() -> str:
    """One line a code."""
    return "\n".join(f"{code}  {long.partition(chr(10))[0]}" for code, long in texts().items())
