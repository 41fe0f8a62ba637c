"""A machine on which TVM's RPC server runs: `python -m tvm.exec.rpc_server --host 127.0.0.1 --port 9090`.

TVM's RPC runs any code for any client that can reach its port: bind it to loopback (and tunnel the port through ssh)
or to a network whose users you trust. Its server listens on all addresses by default.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import ClassVar, NoReturn
from urllib.parse import parse_qsl

from edgewright.passes.ir import Array
from edgewright.targets.cpu.artifact import Artifact, identifier
from edgewright.targets.cpu.devices import rpc_worker, runner_process
from edgewright.targets.cpu.devices.measured import DeviceMeasurement, Settings
from edgewright.targets.cpu.devices.rpc_worker import Ending
from edgewright.targets.cpu.devices.runner_process import refuse

_ARCHS = {"x86_64": ["x86_64", "amd64"], "aarch64": ["aarch64", "arm64"]}


@dataclass(frozen=True, slots=True)
class RpcDevice:
    """A server, or with `tracker` any server that the tracker lists under `key`; host and port are then unused."""

    emulated: ClassVar[bool] = False

    host: str
    port: int
    tracker: tuple[str, int] | None = None
    key: str = ""

    @property
    def name(self) -> str:
        return f"rpc://{self.host}:{self.port}" + (f" ({self.key})" if self.key else "")

    def run(self, artifact: Artifact, inputs: Mapping[str, Array], settings: Settings) -> DeviceMeasurement:
        """Run as `ProfilingDevice.run`, without clock, temperature and power, which TVM's server does not report."""
        with runner_process.working_folder(artifact, inputs) as folder:
            self._greet(settings)
            worker = [sys.executable, "-c", f"from {rpc_worker.__name__} import main; main()"]
            job = self._job(artifact, settings, str(folder))
            done = runner_process.execute(worker, settings, self.name, stdin=job)
            if done.code:
                self._failed(artifact, done.code, done.stderr)
            return runner_process.measured(artifact, runner_process.results_in(folder, artifact), self.name)

    def _greet(self, settings: Settings) -> None:
        """Check that a server listens: TVM would retry for minutes, and reports little about what failed."""
        host, port = self.tracker or (self.host, self.port)
        hint = "start `python -m tvm.exec.rpc_server --host 127.0.0.1 --port 9090` there; check its host, port and firewall"
        try:
            with socket.create_connection((host, port), timeout=settings.connect_s):
                return
        except ConnectionRefusedError as error:
            refuse("T042", "the device refuses connections", self.name, str(error), hint)
        except OSError as error:
            because = f"it gave no answer within {settings.connect_s:g} s" if isinstance(error, TimeoutError) else str(error)
            refuse("T041", "the device cannot be reached", self.name, because, hint)

    def _job(self, artifact: Artifact, settings: Settings, folder: str) -> bytes:
        manifest = artifact.manifest
        job = asdict(self) | asdict(settings)
        job |= {
            "folder": folder,
            "archs": _ARCHS[manifest.arch],
            "library": str(artifact.library),
            "weights": str(artifact.weights),
            "remote_name": f"edgewright_{secrets.token_hex(8)}.so",
            "entry": manifest.entry,
            "inputs": [f"{identifier(t)}.npy" for t in manifest.inputs],
            "workspace_bytes": manifest.workspace_bytes,
            "steps": len(manifest.steps),
            "outputs": [{"identifier": identifier(t), "shape": t.shape, "dtype": t.dtype} for t in manifest.outputs],
            "step_runs": settings.steps,
            "parent": os.getpid(),
        }
        return json.dumps(job).encode()

    def _failed(self, artifact: Artifact, code: int, stderr: str) -> NoReturn:
        because = runner_process.one_line(stderr)
        arch = artifact.manifest.arch
        if code == -signal.SIGALRM:
            hint = "is it an RPC server, and free? a tracker waits until a server with the key is"
            refuse("T041", "the device does not answer", self.name, "it accepted the connection only", hint)
        if code == Ending.WRONG_ARCH:
            hint = "compile for this device"
            refuse("T045", f"the artifact is for {arch}, the device is {because}", self.name, "", hint)
        if code == Ending.NO_SESSION:
            hint = "it may serve somebody else, run another version of TVM, or be something else; with a tracker, check the key"
            refuse("T052", "there is no session with this TVM RPC server", self.name, because, hint)
        if code == Ending.NOT_LOADED:
            hint = f"is the device a Linux on {arch}, with the TVM that edgewright names in `edgewright doctor`?"
            refuse("T052", "the device cannot load the model", self.name, because, hint)
        hint = f"the server may have crashed: does its processor have what the '{artifact.manifest.variant}' kernels need?"
        refuse("T052", "the TVM RPC session broke off", self.name, because, hint)


_HOST = r"[A-Za-z0-9_.][A-Za-z0-9_.-]*|\[[0-9A-Fa-f:.]+\]"
_ENDPOINT = re.compile(rf"(?P<host>{_HOST}):(?P<port>[0-9]{{1,5}})")


def endpoint(text: str) -> tuple[str, int] | None:
    """Return (host, port) of host:port, or None for other text."""
    match = _ENDPOINT.fullmatch(text)
    if match is None or not 0 < int(match["port"]) < 65536:
        return None
    return match["host"].strip("[]"), int(match["port"])


def address(text: str) -> RpcDevice | None:
    """Return the device of host:port[?tracker=host:port][&key=key], or None for other text."""
    place, _, query = text.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    where, tracker = endpoint(place), endpoint(options.get("tracker", ""))
    known = set(options) <= {"tracker", "key"} and ("tracker" not in options or (tracker and options.get("key")))
    if where is None or not known or not options.get("key", "x").isprintable() or " " in options.get("key", ""):
        return None
    return RpcDevice(*where, tracker, options.get("key", ""))
