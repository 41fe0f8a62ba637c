"""A machine over SSH, by the OpenSSH client. It needs sshd, sh, tar, mktemp and glibc, nothing of Edgewright.

One connection carries everything: a script that makes a temporary folder, receives the files, runs and sends the results.
The script ends the run and removes the folder as soon as its standard input ends, which it does however this process ends.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import select
import shutil
import signal
import subprocess
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, ClassVar, NoReturn

from edgewright.passes.ir import Array
from edgewright.passes.names import plain
from edgewright.targets.cpu.artifact import LIBRARY, PLAIN, WEIGHTS, Artifact
from edgewright.targets.cpu.devices import runner_answer, runner_process
from edgewright.targets.cpu.devices.measured import DeviceMeasurement, Settings
from edgewright.targets.cpu.devices.runner_process import refuse
from edgewright.targets.cpu.runner_files import DYNAMIC_LOADER, PROGRAM, program

RESULT_LIMIT_BYTES = 64 << 20  # beside the outputs
GOODBYE_S = 5.0  # for the device to remove its folder
_MARK = "edgewright:"
_NO_FOLDER, _NO_FILES = 90, 91
_ARCHS = {"amd64": "x86_64", "arm64": "aarch64"}

# In double quotes only and without "!": it is passed in single quotes to a login shell of any kind.
_SCRIPT = """
umask 077; exec 3<&0; pid=; d=;
clean() {{ trap "" HUP INT TERM PIPE; [ -z "$pid" ] || kill -9 "$pid" 2>/dev/null; [ -z "$d" ] || rm -rf "$d"; }};
trap clean EXIT; trap "exit 129" HUP INT TERM PIPE;
l=yes; [ -e {loader} ] || l=no; echo "{mark}$(uname -s) $(uname -m) $l";
read go <&3 || exit 0; [ "$go" = go ] || exit 0;
d=$(mktemp -d "${{TMPDIR:-/tmp}}/edgewright.XXXXXXXX") || exit {no_folder};
tar -xf - -C "$d" <&3 || exit {no_files}; cd "$d" || exit {no_files}; chmod 700 {program};
./{program} {arguments} </dev/null >&2 & pid=$!;
( cat <&3; kill -9 "$pid" ) >/dev/null 2>&1 & watch=$!;
wait "$pid"; code=$?; pid=; kill "$watch" 2>/dev/null;
[ "$code" = 0 ] && tar -cf - {results}; exit "$code"
"""


@dataclass(frozen=True, slots=True)
class SshDevice:
    """Where to connect; `options`: further words for ssh, before the host."""

    emulated: ClassVar[bool] = False

    host: str
    user: str | None = None
    port: int | None = None
    options: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        user = f"{self.user}@" if self.user else ""
        return f"ssh://{user}{self.host}" + (f":{self.port}" if self.port else "")

    def command(self, settings: Settings, remote: str) -> list[str]:
        """Return the ssh client's command line: no prompts, no terminal, and keepalives that detect a dead connection."""
        client = shutil.which("ssh")
        if client is None:
            refuse("T053", "there is no ssh client", self.name, "", "apt-get install openssh-client")
        settled = {
            "BatchMode": "yes",
            "ConnectTimeout": str(max(1, round(settings.connect_s))),
            "ConnectionAttempts": "1",
            "ServerAliveInterval": "5",
            "ServerAliveCountMax": "3",
            "ControlMaster": "no",
            "ControlPath": "none",
            "ClearAllForwardings": "yes",
            "ForwardAgent": "no",
            "PermitLocalCommand": "no",
            "RemoteCommand": "none",
        }
        words = [client, "-T", "-x", *self.options]
        for key, value in settled.items():
            words += ["-o", f"{key}={value}"]
        if self.port is not None:
            words += ["-p", str(self.port)]
        if self.user is not None:
            words += ["-l", self.user]
        return [*words, "--", self.host, remote]

    def run(self, artifact: Artifact, inputs: Mapping[str, Array], settings: Settings) -> DeviceMeasurement:
        """Run as `ProfilingDevice.run`."""
        manifest = artifact.manifest
        files = runner_process.input_files(artifact, inputs)
        for name in (LIBRARY, WEIGHTS, PLAIN):
            files[name] = (artifact.directory / name).read_bytes()
        files[PROGRAM] = program(manifest.arch).read_bytes()  # type: ignore[arg-type]  # the manifest was checked
        results = runner_answer.result_names(artifact)
        script = _SCRIPT.format(
            mark=_MARK,
            loader=DYNAMIC_LOADER[manifest.arch],
            no_folder=_NO_FOLDER,
            no_files=_NO_FILES,
            program=PROGRAM,
            arguments=" ".join(runner_process.arguments(artifact, settings, ".", ".")),
            results=" ".join(results),
        )
        remote = f"exec /bin/sh -c '{' '.join(script.split(chr(10)))}'"
        limit = RESULT_LIMIT_BYTES + sum(len(content) for content in files.values())
        with runner_process.orderly(), _connected(self.command(settings, remote), settings) as link:
            answer = link.answer(settings.connect_s * 2, self.name)
            if answer is None:
                self._not_connected(link.ended(), link.stderr(), settings)
            self._check(answer, artifact)
            link.send(b"go\n" + _archive(files))
            content = link.rest(limit)
            if content is None:
                runner_process.too_slow(settings, self.name)
            code, stderr = link.ended(), link.stderr()
        if code:
            self._failed(artifact, code, stderr)
        return runner_process.measured(artifact, _unpacked(content, results, self.name), self.name)

    def _check(self, answer: str, artifact: Artifact) -> None:
        """Check that the machine can run the artifact, before the files are sent."""
        manifest = artifact.manifest
        system, machine, loader = [*answer.split(), "", "", ""][:3]
        arch = _ARCHS.get(machine, machine)
        if system != "Linux" or arch != manifest.arch:
            refuse(
                "T045",
                f"the artifact is for Linux on {manifest.arch}, the device is {plain(system)} on {plain(arch)}",
                self.name,
                f"it was compiled with --target {manifest.target}",
                "compile for this device; a 32-bit system on a 64-bit board has to be replaced by a 64-bit one",
            )
        if loader != "yes":
            missing = f"it has no {DYNAMIC_LOADER[manifest.arch]}"
            hint = "use a system with glibc 2.28 or newer (Debian 10, Ubuntu 20.04, JetPack 5), not one with musl"
            refuse("T046", "the device's C library is missing", self.name, missing, hint)

    def _failed(self, artifact: Artifact, code: int, stderr: str) -> NoReturn:
        if code == 255:
            hint = "check its network and power supply, then try again"
            refuse("T054", "the connection was lost during the run", self.name, runner_process.one_line(stderr), hint)
        if code in (_NO_FOLDER, _NO_FILES):
            hint = "make room on the device, or set TMPDIR there to a folder with space"
            refuse("T050", "the device could not take the files", self.name, runner_process.one_line(stderr), hint)
        if code in (126, 127):
            hint = "temporary folders may be mounted noexec: set TMPDIR on the device to another folder"
            refuse("T050", "the device does not start programs there", self.name, runner_process.one_line(stderr), hint)
        runner_process.refuse_end(artifact, code, stderr, self.name)

    def _not_connected(self, code: int | None, stderr: str, settings: Settings) -> NoReturn:
        """Raise the CompileError for a missing answer, from the messages of OpenSSH."""
        because = runner_process.one_line(stderr)
        if "REMOTE HOST IDENTIFICATION HAS CHANGED" in stderr:
            refuse(
                "T043",
                "the device's host key has changed",
                self.name,
                "another machine answers under this name, or the device was installed anew",
                f"if you know why: `ssh-keygen -R {self._known_as}`, then connect once with ssh and compare the new key",
            )
        if "Host key verification failed" in stderr or "host key is known" in stderr:
            hint = f"connect once with `ssh {self.host}` and compare the key that it shows"
            refuse("T043", "the device's host key is not known", self.name, because, hint)
        if "Permission denied" in stderr or "Too many authentication failures" in stderr:
            hint = "set up a key (ssh-copy-id): passwords are never asked for here"
            refuse("T044", "the device does not let this user in", self.name, because, hint)
        if "Connection refused" in stderr:
            hint = "check the port, and that sshd runs there"
            refuse("T042", "the device refuses connections", self.name, because, hint)
        because = because or f"it gave no answer within {settings.connect_s:g} s"
        hint = "check its name, network and power; `ssh` from a terminal should work without a question"
        message = "the device cannot be reached" if code in (None, 255) else f"the device's shell ended with exit code {code}"
        refuse("T041", message, self.name, because, hint)

    @property
    def _known_as(self) -> str:
        return f"[{self.host}]:{self.port}" if self.port else self.host


@dataclass(slots=True)
class _Link:
    """An ssh client with pipes on all sides."""

    process: subprocess.Popen[bytes]
    errors: IO[bytes]
    deadline: float

    def answer(self, within_s: float, device: str) -> str | None:
        """Return the rest of the line that starts with our mark (a shell's start-up files may print lines before it); None
        when the connection ends or times out."""
        assert self.process.stdout is not None
        end, seen = time.monotonic() + within_s, b""
        while (left := end - time.monotonic()) > 0 and len(seen) < 1 << 20:
            readable, _, _ = select.select([self.process.stdout], [], [], left)
            chunk = os.read(self.process.stdout.fileno(), 1) if readable else b""
            if not chunk:
                return None
            seen += chunk
            line = seen.rpartition(b"\n")[0].rpartition(b"\n")[2] if chunk == b"\n" else b""
            if line.startswith(_MARK.encode()):
                return line[len(_MARK) :].decode(errors="replace")
        return None

    def send(self, content: bytes) -> None:
        """Start to send; the pipe stays open, since closing it ends the run."""
        assert self.process.stdin is not None
        stream = self.process.stdin

        def write() -> None:
            left = memoryview(content)
            with contextlib.suppress(OSError, ValueError):
                while left:
                    left = left[stream.write(left) :]

        threading.Thread(target=write, daemon=True).start()

    def rest(self, limit: int) -> bytes | None:
        """Return everything up to the end, or None after the time limit or more than `limit` bytes."""
        assert self.process.stdout is not None
        parts: list[bytes] = []
        size = 0
        while (left := self.deadline - time.monotonic()) > 0 and size <= limit:
            if not select.select([self.process.stdout], [], [], left)[0]:
                return None
            chunk = os.read(self.process.stdout.fileno(), 1 << 16)
            if not chunk:
                return b"".join(parts)
            parts.append(chunk)
            size += len(chunk)
        return None

    def ended(self) -> int | None:
        """Return the exit code, None when the client has not ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.wait(timeout=GOODBYE_S)
        return None

    def stderr(self) -> str:
        """Return the start of stderr."""
        self.errors.seek(0)
        return self.errors.read(1 << 16).decode(errors="replace")


@contextlib.contextmanager
def _connected(command: list[str], settings: Settings) -> Iterator[_Link]:
    """Run the client while the body runs. At the end the device gets a moment to clean up, then the client is killed."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, start_new_session=True, bufsize=0
        )
        try:
            yield _Link(process, errors, time.monotonic() + settings.timeout_s)
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None and process.stdout is not None
    with contextlib.suppress(OSError):
        process.stdin.close()
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=GOODBYE_S)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        process.stdout.close()


def _archive(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = len(content), 0o600, int(time.time())
            archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def _unpacked(content: bytes, names: tuple[str, ...], device: str) -> dict[str, bytes]:
    """Return the named files of an archive, read in memory: nothing of a device's archive is written to disk."""
    contents: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
            for entry in archive:
                name = entry.name.removeprefix("./")
                whole = entry.isfile() and entry.sparse is None and entry.size <= len(content)  # holes may be of any size
                if name in names and whole and (file := archive.extractfile(entry)) is not None:
                    contents[name] = file.read()
    except (tarfile.TarError, ValueError, OverflowError, EOFError, RecursionError) as error:
        refuse("T051", "the runner's answer is not complete", device, plain(error), "try again")
    return contents


_ADDRESS = re.compile(
    r"(?:(?P<user>[A-Za-z0-9_.][A-Za-z0-9_.-]*)@)?"
    r"(?P<host>[A-Za-z0-9_.][A-Za-z0-9_.-]*|\[[0-9A-Fa-f:.]+\])"
    r"(?::(?P<port>[0-9]{1,5}))?"
)


def address(text: str) -> tuple[str | None, str, int | None] | None:
    """Return (user, host, port) of [user@]host[:port], or None for other text. No part can be mistaken for an option."""
    match = _ADDRESS.fullmatch(text)
    if match is None:
        return None
    port = int(match["port"]) if match["port"] else None
    if port is not None and not 0 < port < 65536:
        return None
    return match["user"], match["host"].strip("[]"), port
