"""What lowering for CUDA makes: launches of kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgewright.targets.gpu.tail import CudaTail
from edgewright.targets.gpu.tir import Argument, Body, Launch, kernel_function
from edgewright.targets.lowering.groups import Group
from edgewright.targets.lowering.step import LoweringContext, ProgramStep
from edgewright.targets.lowering.tail import Arrange

ARCHITECTURES = {"sm_53": False, "sm_72": True, "sm_87": True}  # whether it has dp4a (sm_61 and later)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class KernelLaunch(ProgramStep):
    """One launch of a kernel: a TIR function of one pointer per argument."""

    arguments: tuple[Argument, ...]
    launch: Launch


class CudaContext(LoweringContext[KernelLaunch]):
    """What lowering a node for one architecture may use."""

    def __init__(self, arch: str) -> None:
        super().__init__()
        self.arch = arch

    @property
    def has_dp4a(self) -> bool:
        return ARCHITECTURES[self.arch]

    def tail(self, group: Group, arrange: Arrange = lambda view: view) -> CudaTail:
        return CudaTail(group, self.values, self.keep, arrange)

    def add(self, group: Group | str, arguments: Sequence[Argument], launch: Launch, body: Body, macs: int = 0) -> None:
        """Append the launch that completes a group, or one of this name that only moves values."""
        used = tuple(dict.fromkeys(arguments))
        fields = {"name": group, "kind": "Copy"} if isinstance(group, str) else self.fields(group)
        views = tuple(argument.view for argument in used)
        function = kernel_function(used, launch, body)
        self.steps.append(KernelLaunch(function=function, views=views, macs=macs, arguments=used, launch=launch, **fields))
