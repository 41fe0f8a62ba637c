"""Devices: the same bits everywhere, one clear error for everything that can be wrong, nothing left behind."""

from __future__ import annotations

import contextlib
import functools
import getpass
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from edgewright.passes import error_texts
from edgewright.passes.diagnostics import CompileError, Exit
from edgewright.targets.cpu import qemu as emulator
from edgewright.targets.cpu.artifact import Artifact, identifier
from edgewright.targets.cpu.devices import (
    DeviceMeasurement,
    LocalDevice,
    ProfilingDevice,
    QemuDevice,
    RpcDevice,
    Settings,
    SshDevice,
    device,
    runner_process,
    ssh,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.targets.cpu.made_artifacts import artifact, expected, sample

pytestmark = pytest.mark.tvm
FEW = Settings(threads=(1, 2), warmup=1, repeat=5, steps=2, power_seconds=0, connect_s=10, timeout_s=120)
SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def right(of: Artifact, measured: DeviceMeasurement) -> bool:
    wanted = expected(of)
    return set(wanted) == set(measured.outputs) and all(np.array_equal(measured.outputs[n], wanted[n]) for n in wanted)


def refusal(where: ProfilingDevice, of: Artifact, settings: Settings = FEW) -> tuple[str, str]:
    """(code, text) of the one error that a run gives."""
    with pytest.raises(CompileError) as raised:
        where.run(of, sample(of), settings)
    (found,) = raised.value.diagnostics
    assert raised.value.exit_code == Exit.USAGE and found.code in error_texts.codes() and found.help
    return found.code, str(found)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextlib.contextmanager
def silent_server() -> Iterator[int]:
    """Accepts connections and never says anything."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        yield int(one.getsockname()[1])


def test_spellings() -> None:
    assert device("local") == LocalDevice() and device("qemu") == QemuDevice()
    assert device("ssh://pi@board.local:2222") == SshDevice("board.local", "pi", 2222)
    assert device("ssh://[fe80::1]") == SshDevice("fe80::1")
    assert device("rpc://10.0.0.7:9090") == RpcDevice("10.0.0.7", 9090)
    assert device("rpc://a:1?tracker=b:2&key=rpi4") == RpcDevice("a", 1, ("b", 2), "rpi4")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "locall",
        "ssh://",
        "ssh://-oProxyCommand=id",
        "ssh://a@-b",
        "ssh://a b",
        "ssh://a:0",
        "ssh://a:65536",
        "ssh://a;id",
        "ssh://a@b@c",
        "rpc://a",
        "rpc://a:b",
        "rpc://a:1?tracker=b",
        "rpc://a:1?tracker=b:2",
        "rpc://a:1?what=1",
        "rpc://a:1?key=x%20y",
        "ssh:a",
        "ftp://a",
        "ssh://a\n",
    ],
)
def test_other_spellings_are_refused(text: str) -> None:
    with pytest.raises(CompileError) as raised:
        device(text)
    assert raised.value.diagnostics[0].code == "T040" and raised.value.exit_code == Exit.USAGE


@given(st.text(max_size=30) | st.from_regex(r"[-a@.:\[\]%;$ 0-9]{0,20}"))
def test_no_address_becomes_an_option_or_a_shell_word(text: str) -> None:
    found = ssh.address(text)
    if found is not None:
        user, host, port = found
        assert (
            host
            and host[0] != "-"
            and not set(host) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-:")
        )
        assert (user is None or user[0] != "-") and (port is None or 0 < port < 65536)


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_local(precision: str) -> None:
    of = artifact(precision=precision)
    found = LocalDevice().run(of, sample(of), FEW)
    assert [run.threads for run in found.runs] == [1, 2] and all(len(run.times_ns) == 5 for run in found.runs)
    assert all(len(run.steps) == len(of.manifest.steps) for run in found.runs)
    assert found.machine is not None and found.machine.arch == os.uname().machine and found.power is None
    if precision == "int8":
        assert right(of, found)


def test_local_refuses_another_architecture() -> None:
    with pytest.raises(CompileError) as raised:
        LocalDevice().run(artifact("rpi4"), sample(artifact("rpi4")), FEW)
    assert raised.value.diagnostics[0].code == "T021"


def test_local_wrong_inputs() -> None:
    of = artifact()
    with pytest.raises(CompileError) as raised:
        LocalDevice().run(of, {"nobody": np.zeros(3, np.float32)}, FEW)
    assert {one.code for one in raised.value.diagnostics} == {"D008"}


def endless() -> Settings:
    return replace(FEW, repeat=10_000_000, seconds=600)


def test_local_too_slow() -> None:
    started = time.monotonic()
    code, _ = refusal(LocalDevice(), artifact(), replace(endless(), timeout_s=1))
    assert code == "T048" and time.monotonic() - started < 20


def temporary_folders(prefix: str) -> set[str]:
    return {path.name for path in Path(os.environ.get("TMPDIR", "/tmp")).glob(f"{prefix}*") if path.is_dir()}


def runners_of(folder: str) -> list[int]:
    """Processes of edgewright-run whose command line names this folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if words[0].endswith(b"edgewright-run") and folder.encode() in b" ".join(words):
                found.append(int(entry.name))
    return found


def wait_until(condition: object, seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.05)
    return False


CHILD = """
import sys
import numpy as np
from edgewright.targets.cpu.artifact import Artifact, identifier
from edgewright.targets.cpu.devices import LocalDevice, Settings, SshDevice
from edgewright.targets.cpu.profile import kept_sample
of = Artifact.open(sys.argv[1])
where = LocalDevice() if sys.argv[2] == "local" else SshDevice(sys.argv[2], None, int(sys.argv[3]), ("-F", sys.argv[4]))
where.run(of, kept_sample(of), Settings(threads=(1,), repeat=10_000_000, seconds=600, timeout_s=300))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_local_leaves_nothing_when_it_is_killed(number: signal.Signals, tmp_path: Path) -> None:
    folder = str(artifact().directory)
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    child = subprocess.Popen([sys.executable, "-c", CHILD, folder, "local"], stderr=subprocess.DEVNULL, env=environment)
    try:
        assert wait_until(lambda: runners_of(folder))
        child.send_signal(number)
        child.wait(timeout=20)
    finally:
        child.kill()
        child.wait()
    assert wait_until(lambda: not runners_of(folder))
    if number != signal.SIGKILL:
        assert list(tmp_path.iterdir()) == []


def needs_qemu() -> None:
    if missing := emulator.missing():
        pytest.skip(f"needs {', '.join(missing)}")
    try:
        from edgewright.targets.cpu.devices.qemu import library_root

        library_root()
    except CompileError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(("target", "cpu"), [("rpi4", "cortex-a72"), ("rpi5", "cortex-a76")])
def test_qemu(target: str, cpu: str) -> None:
    needs_qemu()
    of = artifact(target)
    found = QemuDevice().run(of, sample(of), FEW)
    macs = sum(step.macs for step in of.manifest.steps)
    assert right(of, found) and found.cpu == cpu and found.machine is None
    assert found.instructions is not None and macs / 64 < found.instructions < macs * 20
    again = QemuDevice().run(of, sample(of), FEW)
    assert again.instructions is not None and abs(again.instructions / found.instructions - 1) < 0.01


def test_qemu_refuses() -> None:
    needs_qemu()
    if artifact().manifest.arch == "x86_64":
        assert refusal(QemuDevice(), artifact())[0] == "T045"
    code, text = refusal(QemuDevice(cpu="cortex-a72"), artifact("rpi5"))
    assert code == "T049" and "lacks asimddp" in text


@contextlib.contextmanager
def rpc_server() -> Iterator[int]:
    port = free_port()
    words = [
        sys.executable,
        "-m",
        "tvm.exec.rpc_server",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--port-end",
        str(port + 1),
    ]
    server = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        assert wait_until(lambda: _listens(port), 60) and server.poll() is None
        yield port
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def test_rpc() -> None:
    of = artifact()
    with rpc_server() as port:
        where = RpcDevice("127.0.0.1", port)
        found = where.run(of, sample(of), replace(FEW, connect_s=60))
        assert right(of, found) and [run.threads for run in found.runs] == [1, 2]
        assert all(len(run.times_ns) == 5 and len(run.steps) == len(of.manifest.steps) for run in found.runs)
        if of.manifest.arch == "x86_64":
            code, text = refusal(where, artifact("rpi4"), replace(FEW, connect_s=60))
            assert code == "T045" and "x86_64" in text
        code, _ = refusal(where, of, replace(endless(), timeout_s=6, connect_s=60))
        assert code == "T048"


def test_rpc_unreachable() -> None:
    assert refusal(RpcDevice("127.0.0.1", free_port()), artifact())[0] == "T042"
    assert refusal(RpcDevice("nobody.invalid", 9090), artifact())[0] == "T041"
    with silent_server() as port:
        started = time.monotonic()
        assert refusal(RpcDevice("127.0.0.1", port), artifact(), replace(FEW, connect_s=1))[0] == "T041"
        assert time.monotonic() - started < 30


class Sshd:
    """A server of this user's own on loopback, and a client configuration that knows it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        for name in ("host", "other", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
        shutil.copy(folder / "user.pub", folder / "authorized")
        self.scratch = folder / "scratch"
        self.scratch.mkdir()
        (folder / "server").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\n"
            f"PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nSetEnv TMPDIR={self.scratch}\n"
        )
        self.know("host")
        self.write_client("user")
        self.process = subprocess.Popen([str(SSHD), "-D", "-e", "-f", str(folder / "server")], stderr=subprocess.DEVNULL)

    def know(self, key: str | None) -> None:
        line = "" if key is None else f"[127.0.0.1]:{self.port} {(self.folder / f'{key}.pub').read_text()}"
        (self.folder / "known").write_text(line)

    def write_client(self, identity: str) -> None:
        (self.folder / "client").write_text(
            f"UserKnownHostsFile {self.folder}/known\nGlobalKnownHostsFile none\nIdentityFile {self.folder}/{identity}\n"
            "IdentitiesOnly yes\nIdentityAgent none\nStrictHostKeyChecking ask\n"
        )

    @property
    def device(self) -> SshDevice:
        return SshDevice("127.0.0.1", getpass.getuser(), self.port, ("-F", str(self.folder / "client")))

    def nothing_left(self) -> bool:
        return not any(self.scratch.iterdir())


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    if SSHD is None or shutil.which("ssh") is None:
        pytest.skip("needs sshd and ssh (Debian's openssh-server and openssh-client)")
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # a server that root starts insists on it
    server = Sshd(tmp_path)
    try:
        assert wait_until(lambda: _listens(server.port))
        yield server
    finally:
        server.process.terminate()
        server.process.wait()


def test_ssh(sshd: Sshd) -> None:
    of = artifact()
    found = sshd.device.run(of, sample(of), FEW)
    assert right(of, found) and [run.threads for run in found.runs] == [1, 2] and found.machine is not None
    assert wait_until(sshd.nothing_left)


def test_ssh_wrong_architecture_is_found_before_anything_is_copied(sshd: Sshd) -> None:
    if artifact().manifest.arch != "x86_64":
        pytest.skip("needs an x86-64 machine")
    code, text = refusal(sshd.device, artifact("rpi4"))
    assert code == "T045" and "aarch64" in text and sshd.nothing_left()


def test_ssh_host_keys(sshd: Sshd) -> None:
    sshd.know("other")
    code, text = refusal(sshd.device, artifact())
    assert code == "T043" and "has changed" in text and "ssh-keygen -R" in text
    sshd.know(None)
    code, text = refusal(sshd.device, artifact())
    assert code == "T043" and "not known" in text


def test_ssh_wrong_key(sshd: Sshd) -> None:
    sshd.write_client("other")
    assert refusal(sshd.device, artifact())[0] == "T044"


def test_ssh_dead_port_and_silent_host(tmp_path: Path) -> None:
    if shutil.which("ssh") is None:
        pytest.skip("needs ssh")
    options = ("-F", "none")
    assert refusal(SshDevice("127.0.0.1", None, free_port(), options), artifact())[0] == "T042"
    assert refusal(SshDevice("nobody.invalid", None, None, options), artifact())[0] == "T041"
    with silent_server() as port:
        started = time.monotonic()
        assert refusal(SshDevice("127.0.0.1", None, port, options), artifact(), replace(FEW, connect_s=1))[0] == "T041"
        assert time.monotonic() - started < 20


def test_ssh_too_slow(sshd: Sshd) -> None:
    code, _ = refusal(sshd.device, artifact(), replace(endless(), timeout_s=3))
    assert code == "T048" and wait_until(sshd.nothing_left)


def test_ssh_no_room(sshd: Sshd) -> None:
    shutil.rmtree(sshd.scratch)
    code, text = refusal(sshd.device, artifact())
    assert code == "T050" and "TMPDIR" in text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_ssh_leaves_nothing_when_it_is_killed(sshd: Sshd, number: signal.Signals) -> None:
    words = [sys.executable, "-c", CHILD, str(artifact().directory), "127.0.0.1", str(sshd.port), str(sshd.folder / "client")]
    child = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    try:
        assert wait_until(lambda: any((one / "edgewright-run").exists() for one in sshd.scratch.iterdir()))
        time.sleep(0.3)
        child.send_signal(number)
        child.wait(timeout=20)
    finally:
        child.kill()
        child.wait()
    assert wait_until(sshd.nothing_left)


def test_ssh_connection_lost(sshd: Sshd) -> None:
    def sessions() -> list[int]:
        return [int(one) for one in Path(f"/proc/{sshd.process.pid}/task/{sshd.process.pid}/children").read_text().split()]

    import threading

    def cut() -> None:
        wait_until(lambda: any((one / "edgewright-run").exists() for one in sshd.scratch.iterdir()))
        time.sleep(0.3)
        for one in sessions():
            os.kill(one, signal.SIGKILL)

    thread = threading.Thread(target=cut)
    thread.start()
    code, _ = refusal(sshd.device, artifact(), endless())
    thread.join()
    assert code == "T054" and wait_until(sshd.nothing_left)


@pytest.mark.parametrize(
    ("code", "said", "expected_code", "text"),
    [
        (-signal.SIGILL, "", "T047", "SIGILL"),
        (128 + signal.SIGSEGV, "", "T047", "SIGSEGV"),
        (137, "", "T047", "memory"),
        (1, "./edgewright-run: /lib/libc.so.6: version `GLIBC_2.28' not found", "T046", "glibc 2.28"),
        (2, "edgewright-run: cpu: this processor lacks i8mm", "T049", "i8mm"),
        (2, "edgewright-run: memory: out of memory", "T050", "memory"),
        (1, "edgewright-run: artifact: weights.bin has 3 bytes\x1b[2J", "T051", "weights.bin"),
    ],
)
def test_ends_of_the_runner(code: int, said: str, expected_code: str, text: str) -> None:
    with pytest.raises(CompileError) as raised:
        runner_process.refuse_end(artifact(), code, said, "somewhere")
    (found,) = raised.value.diagnostics
    assert found.code == expected_code and text in str(found) and "\x1b" not in str(found)


def test_incomplete_answers() -> None:
    for files in ({}, {"profile.json": b"{"}, {"profile.json": b'{"format": 1}'}):
        with pytest.raises(CompileError) as raised:
            runner_process.measured(artifact(), files, "somewhere")
        assert raised.value.diagnostics[0].code == "T051"


@functools.cache
def right_answer() -> dict[str, bytes]:
    """What the runner wrote on this machine."""
    of = artifact()
    found = LocalDevice().run(of, sample(of), FEW)
    profile = {
        "format": 1,
        "machine": found.machine,
        "before": found.before,
        "after": found.after,
        "power": None,
        "runs": found.runs,
    }
    files = {"profile.json": msgspec.json.encode(profile)}
    for one in of.manifest.outputs:
        file = io.BytesIO()
        np.save(file, found.outputs[one.name])
        files[f"outputs/{identifier(one)}.npy"] = file.getvalue()
    return files


def zipped() -> bytes:
    file = io.BytesIO()
    np.savez(file, logits=np.zeros((1, 10), np.int16))
    return file.getvalue()


def header(descr: str, shape: str, version: int = 1) -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY",
        zipped(),
        header("<i2", "(1, 10)"),
        header("<i2", "(1, 10)", 3) + bytes(20),
        header("<i2", "(1, 10)") + bytes(19),
        header("<i2", "(1, 10)") + bytes(21),
        header("<i2", f"({1 << 40},)"),
        header("<i2", f"(1, {1 << 40})"),
        header("<f4", "(1, 10)") + bytes(40),
        header("|O", "(1, 10)") + bytes(80),
        header("<i2", "(True, 10)") + bytes(20),
        header("<i2", "(1, 10") + bytes(20),
        header("<i2", "(10,)") + bytes(20),
        header("<i2", "((((((((1, 10)") + bytes(20),
        header("<i2", "(1, -" + "-" * 40 + "10)"),
        b"\x93NUMPY\x01\0\xff\xff" + b"(" * 70_000,
    ],
)
def test_outputs_that_no_runner_writes(content: bytes) -> None:
    (name,) = (name for name in right_answer() if name.endswith(".npy"))
    code, _ = told({**right_answer(), name: content})
    assert code == "T051"


def told(files: Mapping[str, bytes]) -> tuple[str, str]:
    with pytest.raises(CompileError) as raised:
        runner_process.measured(artifact(), files, "somewhere")
    (found,) = raised.value.diagnostics
    assert raised.value.exit_code == Exit.USAGE and found.help and "\n" not in found.because
    return found.code, str(found)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("runs",), []),
        (("runs",), {}),
        (("runs", 0, "times_ns"), []),
        (("runs", 0, "times_ns", 1), 0),
        (("runs", 0, "times_ns", 1), -5),
        (("runs", 0, "times_ns", 1), 1 << 200),
        (("runs", 0, "times_ns", 1), 1 << 62),
        (("runs", 0, "times_ns", 1), 0.5),
        (("runs", 0, "threads"), 0),
        (("runs", 0, "steps"), [{"median_ns": 1, "min_ns": 1}]),
        (("runs", 0, "steps", 0, "median_ns"), -1),
        (("runs", 0, "steps", 0, "min_ns"), "x"),
        (("before", "load"), -1),
        (("before", "throttle_count"), 1 << 70),
        (("machine", "processors"), -1),
        (("machine",), None),
        (("power",), {"threads": 1, "runs": -1, "seconds": 1, "samples": 1, "idle": [], "busy": []}),
    ],
)
def test_figures_that_no_runner_writes(path: tuple[str | int, ...], value: object) -> None:
    data = json.loads(right_answer()["profile.json"])
    at = data
    for part in path[:-1]:
        at = at[part]
    at[path[-1]] = value
    assert told({**right_answer(), "profile.json": json.dumps(data).encode()})[0] == "T051"


@pytest.mark.parametrize(
    "content",
    [b"\xff", b"[" * 200_000, b'{"a":' * 200_000, b'{"format": 1, "x": ' + b"[" * 200_000, b"1e999", b'{"format": 1e999}'],
)
def test_json_that_no_runner_writes(content: bytes) -> None:
    assert told({**right_answer(), "profile.json": content})[0] == "T051"


def test_the_right_answer_is_read() -> None:
    assert right(artifact(), runner_process.measured(artifact(), right_answer(), "somewhere"))


def test_archives_with_holes_are_not_filled() -> None:
    """A sparse file of a terabyte in an archive of 1.5 kB, as GNU tar writes it."""
    entry = tarfile.TarInfo("./profile.json")
    entry.type, entry.size = tarfile.GNUTYPE_SPARSE, 0
    block = bytearray(entry.tobuf(tarfile.GNU_FORMAT))
    block[386:410] = b"%011o\0%011o\0" % (1 << 30, 0)
    block[483:495] = b"\x80" + (1 << 40).to_bytes(11, "big")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block[:512])
    with tarfile.open(fileobj=io.BytesIO(bytes(block) + bytes(1024))) as archive:
        assert archive.next().size == 1 << 40  # type: ignore[union-attr]
    assert ssh._unpacked(bytes(block) + bytes(1024), ("profile.json",), "somewhere") == {}
