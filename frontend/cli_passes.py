"""The options of the passes that make a model smaller, for `optimise` and `compile` alike, and the command `optimise`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from edgewright.frontend.cli_streams import given_path

if TYPE_CHECKING:
    from edgewright.frontend.reshaping.options import Reshaping

PANEL = "Passes that make a model smaller"
Task = Annotated[
    str | None,
    typer.Option(metavar="NAME", rich_help_panel=PANEL, help="Keep only this task: its head, routers and reachable experts."),
]
UsageThreshold = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE", rich_help_panel=PANEL, help="Drop experts that a smaller share of the tokens chooses. Needs data."
    ),
]
FuseBlocks = Annotated[
    str | None,
    typer.Option(
        metavar="25%|N", rich_help_panel=PANEL, help="Fuse this share or number of blocks into their neighbours. Needs data."
    ),
]
HashAttention = Annotated[
    str | None,
    typer.Option(
        metavar="LAYERS",
        rich_help_panel=PANEL,
        help="Hash attention in these layers: all, auto, 0,2,3 or '>=128' (tokens). Needs data.",
    ),
]
HashBits = Annotated[
    int | None, typer.Option(metavar="N", rich_help_panel=PANEL, help="Set the bits of a hash code. [default: 16]")
]
HashSupports = Annotated[
    int | None,
    typer.Option(metavar="N", rich_help_panel=PANEL, help="Set the support samples of a hash function. [default: 25]"),
]
HashConstant = Annotated[
    str | None,
    typer.Option(
        metavar="sum|own",
        rich_help_panel=PANEL,
        help="Use the paper's constant term (sum) or the released code's (own). [default: sum]",
    ),
]
Epochs = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        rich_help_panel=PANEL,
        help="Train for this many passes over the data; 0 trains nothing. [default: each pass's own]",
    ),
]
Seed = Annotated[int, typer.Option(metavar="N", rich_help_panel=PANEL, help="Seed for all random choices.")]
Data = Annotated[
    Path | None,
    typer.Option(
        metavar="DATA.npz",
        rich_help_panel=PANEL,
        help="Learn from and measure on these samples, never the same ones for both; with `labels`, if any.",
    ),
]
Checkpoints = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        parser=given_path,
        rich_help_panel=PANEL,
        help="Save progress in this folder, to continue an interrupted run.",
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume", rich_help_panel=PANEL, help="Continue the run in --checkpoints; the result is the same.")
]
Shape = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=1,3,224,224", help="Set the shape of an input that the file leaves open. Repeatable."),
]


def reshaping(
    task: str | None,
    usage_threshold: float | None,
    fuse_blocks: str | None,
    hash_attention: str | None,
    hash_bits: int | None,
    hash_supports: int | None,
    hash_constant: str | None,
    epochs: int | None,
    seed: int,
    checkpoints: Path | None,
    resume: bool,
) -> Reshaping:
    """The options as one value. CompileError (exit 2) for values that an option does not have, and for lonely ones."""
    from edgewright.frontend.reshaping.optimised import check_alone
    from edgewright.frontend.reshaping.options import Reshaping

    found = Reshaping(task, usage_threshold, fuse_blocks, hash_attention, hash_bits, hash_supports, hash_constant, epochs, seed)
    if resume and checkpoints is None:
        raise check_alone("--resume", "it continues what a folder of checkpoints holds", "add --checkpoints DIR")
    for option, given in (("--epochs", epochs is not None), ("--checkpoints", checkpoints is not None)):
        if given and not found.asks:
            because = "no pass that learns was asked for"
            raise check_alone(option, because, "add --fuse-blocks, --hash-attention or --task")
    return found


def optimise(
    model: Annotated[Path, typer.Argument(help="ONNX file of the model.", show_default=False)],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="SMALL.onnx", parser=given_path, help="Write the result to this file.")
    ],
    data: Data = None,
    task: Task = None,
    usage_threshold: UsageThreshold = None,
    fuse_blocks: FuseBlocks = None,
    hash_attention: HashAttention = None,
    hash_bits: HashBits = None,
    hash_supports: HashSupports = None,
    hash_constant: HashConstant = None,
    epochs: Epochs = None,
    seed: Seed = 0,
    checkpoints: Checkpoints = None,
    resume: Resume = False,
    shape: Shape = None,
    target: Annotated[
        str, typer.Option("--target", "-t", help="Estimate memory and latency for this board; nothing is compiled.")
    ] = "host",
    precision: Annotated[
        Literal["int8", "fp32"] | None, typer.Option(help="Estimate for this precision. [default: fp32 on CPUs]")
    ] = None,
) -> None:
    """Make a model smaller without compiling it: ONNX in, ONNX out, with a report of what that cost."""
    from edgewright.frontend.cli import shape_of
    from edgewright.frontend.report import render, render_changes
    from edgewright.frontend.reshaping.optimised import optimise as optimise_model

    options = reshaping(
        task,
        usage_threshold,
        fuse_blocks,
        hash_attention,
        hash_bits,
        hash_supports,
        hash_constant,
        epochs,
        seed,
        checkpoints,
        resume,
    )
    out, err = render.consoles()
    with render.Stages(err) as progress:
        made = optimise_model(
            model,
            output,
            data=data,
            reshaping=options,
            shapes=dict(shape_of(text) for text in shape or []),
            target=target,
            precision=precision,
            checkpoints=checkpoints,
            resume=resume,
            progress=progress,
        )
    calibration = "random" if data is None else data
    engine = not {"MoE", "HashAttention"} & {node.op.kind for node in made.graph.nodes()}
    board = target if target != "host" else "zcu104" if engine else "rpi5"
    step = f"edgewright compile {output} --target {board} --calibration {calibration}"
    render_changes.optimised(out, made, step)
