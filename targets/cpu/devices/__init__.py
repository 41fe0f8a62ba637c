"""Where an artifact can run: this machine, an emulator, TVM's RPC, or a board over SSH."""

from __future__ import annotations

from edgewright.targets.cpu.devices import rpc, ssh
from edgewright.targets.cpu.devices.local import LocalDevice
from edgewright.targets.cpu.devices.measured import DeviceMeasurement, ProfilingDevice, Settings
from edgewright.targets.cpu.devices.qemu import QemuDevice
from edgewright.targets.cpu.devices.rpc import RpcDevice
from edgewright.targets.cpu.devices.runner_process import refuse
from edgewright.targets.cpu.devices.ssh import SshDevice

__all__ = ["DeviceMeasurement", "LocalDevice", "ProfilingDevice", "QemuDevice", "RpcDevice", "Settings", "SshDevice", "device"]

SPELLINGS = "local, qemu, ssh://[user@]host[:port], rpc://host:port or rpc://host:port?tracker=host:port&key=key"


def device(text: str) -> ProfilingDevice:
    """Return the device of a --device option, without contacting it. CompileError T040 when the text names none."""
    if text == "local":
        return LocalDevice()
    if text == "qemu":
        return QemuDevice()
    scheme, separator, rest = text.partition("://")
    if separator and scheme == "ssh" and (address := ssh.address(rest)):
        user, host, port = address
        return SshDevice(host, user, port)
    if separator and scheme == "rpc" and (server := rpc.address(rest)):
        return server
    refuse("T040", f"there is no device '{text}'", "--device", f"a device is {SPELLINGS}", "e.g. --device ssh://pi@raspberrypi")
