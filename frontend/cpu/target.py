"""The target of a CPU: a float or integer graph is lowered to a program, and the program is compiled into a library."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from edgewright import __version__
from edgewright.frontend.cpu.bundle import CpuBundle
from edgewright.frontend.cpu.report import cpu_report, estimated_cpu
from edgewright.frontend.files.checkpoints import nothing_to_start_from
from edgewright.frontend.options import NO_GPU, Options
from edgewright.frontend.target import Prepared, Target, Unpriced
from edgewright.frontend.trial import quantised_on_random
from edgewright.passes.diagnostics import CompileError, Diagnostic, Exit, fail
from edgewright.passes.documents import to_json
from edgewright.passes.ir import Graph
from edgewright.passes.pipeline import optimise
from edgewright.passes.results import Snapshot
from edgewright.targets.device import Device

if TYPE_CHECKING:
    from edgewright.targets.cpu.variants import Variant

_DIGITS = 6


class CpuTarget:
    """See `frontend.target.Target`."""

    precisions = ("int8", "fp32")
    bundle: type[CpuBundle] = CpuBundle

    def check(self, options: Options, device: Device) -> None:
        variant_of(device, options.variant)
        if options.gpu:
            cuda_arch(device)
        if not options.starts_by("plan"):
            because = f"'{device.name}' is a CPU, for which lowering and building are one stage"
            nothing_to_start_from(because, "start with --from plan, which is that stage")

    def has_rms_norm(self, options: Options) -> bool:
        return not options.gpu

    def build(self, prepared: Prepared, options: Options) -> CpuBundle:
        graph, device, clock = prepared.graph, prepared.device, prepared.clock
        files = dict(prepared.files)
        if options.gpu:
            with clock.stage("CUDA"):
                from edgewright.targets.gpu.build import cuda_program

                cuda = cuda_program(graph, cuda_arch(device))
                files |= {f"cuda/{name}": content for name, content in cuda.files().items()}
                files["cuda/manifest.json"] = to_json(cuda.manifest)
        with clock.stage("lower and build"):
            from edgewright.targets.cpu.artifact import LIBRARY
            from edgewright.targets.cpu.package import package

            files, manifest, works = package(
                graph,
                variant_of(device, options.variant),
                model=prepared.model,
                target=device.name,
                version=__version__,
                options=options.manifest(prepared.record.options),
                files=files,
            )
        report = cpu_report(prepared, options, manifest, works, len(files[LIBRARY]))
        return CpuBundle(manifest, report, files, _graph=graph)

    def check_graph(self, graph: Graph, device: Device, precision: str) -> None:
        if refused := _refused(graph, precision):
            raise CompileError(refused)

    def price(self, graph: Graph, device: Device, precision: str, variant: str | None) -> Snapshot:
        if find_spec("tvm") is None:
            reason = "Memory and latency are not estimated: TVM, which lays programs out, is not installed."
            raise Unpriced(reason, Snapshot(0, 0))
        from edgewright.targets.cpu.build import sizes
        from edgewright.targets.cpu.lower import lower
        from edgewright.targets.cpu.work import works_of
        from edgewright.targets.estimate import estimate

        kernels = variant_of(device, variant)
        integer = quantised_on_random(graph, method="minmax", passes=False) if precision == "int8" else graph
        program = lower(integer, kernels)
        weights, temporaries = sizes(program)
        known = Snapshot(0, 0, weights_bytes=weights, temporaries_bytes=temporaries)
        if estimated_cpu(device, kernels) is None:
            reason = f"Latency is not estimated: {device.name} does not run these kernels, or is not known."
            raise Unpriced(reason, known)
        single = estimate(works_of(program), device, 1, kernels.name)
        return replace(known, latency_low_ms=round(single.low_ms, _DIGITS), latency_high_ms=round(single.high_ms, _DIGITS))


@lru_cache(maxsize=2)
def _refused(graph: Graph, precision: str) -> tuple[Diagnostic, ...]:
    """Return why no CPU runs a model at a precision: what it may hold does not depend on the board."""
    if find_spec("tvm") is None:
        because = "TVM, which generates code for CPUs, is not installed"
        return (Diagnostic("T022", "nothing is compiled for CPUs here", "--target", because, "pip install 'edgewright[cpu]'"),)
    from edgewright.targets.cpu.lower import lower
    from edgewright.targets.cpu.variants import variant

    try:
        lower(quantised_on_random(graph) if precision == "int8" else optimise(graph, rms_norm=True)[0], variant("neon"))
    except CompileError as error:
        return error.diagnostics
    return ()


def variant_of(device: Device, name: str | None) -> Variant:
    """Return the kernels for a board: its own, the fastest that this machine runs for `host`, or those of this name.

    CompileError (exit 2): T023 for a name that there is not, T024 for a machine without kernels."""
    from edgewright.targets.cpu.variants import VARIANTS, best, host_arch, host_features, variant

    if name is not None:
        names = [kernels.name for kernels in VARIANTS]
        if name not in names:
            because, help_text = f"there are {', '.join(names)}", "omit --variant to use the target's own"
            fail("T023", f"there are no kernels called '{name}'", "--variant", because, help_text, Exit.USAGE)
        return variant(name)
    if device.name != "host":
        assert device.cpu is not None
        return variant(device.cpu.variant)
    try:
        return best(host_arch(), host_features())
    except KeyError:
        message = f"there are no kernels for this machine's architecture, {host_arch()}"
        help_text = "name a board: `edgewright targets` lists them"
        fail("T024", message, "--target host", "x86_64 and aarch64 have kernels", help_text, Exit.USAGE)


def cuda_arch(device: Device) -> str:
    """Return the compute capability of a board's GPU, like sm_87. CompileError T025 where there is none."""
    arch: Any = device.tvm_target.get("arch")
    if device.gpu is None or arch is None:
        NO_GPU.fail("--gpu", device.name)
    return str(arch)


TARGET: Target = CpuTarget()
