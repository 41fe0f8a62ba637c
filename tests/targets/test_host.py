"""The machine that runs the compiler, and others by what their /proc and /sys hold."""

from __future__ import annotations

from pathlib import Path

import pytest
from edgewright.targets import device, host
from edgewright.targets.cpu import variants

X86 = """processor\t: 0
vendor_id\t: {vendor}
cpu family\t: {family}
model\t\t: {model}
model name\t: Some Processor
cpu MHz\t\t: 2500.5
flags\t\t: {flags}

processor\t: 1
vendor_id\t: {vendor}
flags\t\t:
"""
ARM = """processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd {features}
CPU implementer\t: 0x41
CPU architecture: 8
CPU part\t: {part}
"""
AVX2 = " ".join(variants.variant("avx2").features)
VNNI = " ".join(variants.variant("avx512vnni").features)


def machine(
    root: Path, monkeypatch: pytest.MonkeyPatch, arch: str, cpuinfo: str, files: dict[str, str] | None = None
) -> device.Device:
    for name, text in {"proc/cpuinfo": cpuinfo, **(files or {})}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(host, "host_arch", lambda: arch)
    boards = [one for one in device.list_devices() if one.name != "host"]
    bare = device.Device(name="host", title="x", kind="cpu", part="host", supported=True, source={"title": "none"})
    return host.this_machine(bare, boards, root)


def cpu_of(found: device.Device) -> device.Cpu:
    assert found.cpu is not None
    return found.cpu


def test_this_machine_is_read() -> None:
    board = device.load("host")
    chosen = variants.best(variants.host_arch(), variants.host_features())
    cpu = cpu_of(board)
    assert cpu.variant == chosen.name
    assert cpu.simd_bits <= chosen.vector_bits
    assert cpu.cores >= 1 and board.clock_mhz
    assert set(board.source) >= {"cpu", "cpu.pipes", "cpu.caches", "cpu.bandwidth", "clock_mhz"}


def test_a_known_core_with_wide_vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = X86.format(vendor="AuthenticAMD", family=25, model=17, flags=VNNI)
    board = machine(tmp_path, monkeypatch, "x86_64", text)
    cpu = cpu_of(board)
    assert (cpu.core, cpu.variant, cpu.simd_bits, cpu.fma_per_cycle) == ("AMD Zen 4", "avx512vnni", 512, 1)
    assert (board.clock_mhz, cpu.clock_max_mhz) == (2500, 3751)
    assert "assumed" in board.source["clock_mhz"]


def test_a_wide_unit_that_runs_narrow_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = X86.format(vendor="AuthenticAMD", family=25, model=17, flags=AVX2)
    cpu = cpu_of(machine(tmp_path, monkeypatch, "x86_64", text))
    assert (cpu.variant, cpu.simd_bits, cpu.fma_per_cycle) == ("avx2", 256, 2)


@pytest.mark.parametrize(("vendor", "model"), [("GenuineIntel", 9999), ("SomebodyElse", 17), ("AuthenticAMD", 9999)])
def test_an_unknown_core_is_an_assumption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vendor: str, model: int) -> None:
    board = machine(tmp_path, monkeypatch, "x86_64", X86.format(vendor=vendor, family=25, model=model, flags=AVX2))
    assert cpu_of(board).core == "Some Processor"
    assert "assumption" in board.source["cpu.pipes"]


def test_an_arm_machine_is_the_board_with_its_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sysfs = "sys/devices/system/cpu/cpu0/"
    files = {
        sysfs + "cpufreq/cpuinfo_max_freq": "2200000\n",
        sysfs + "cache/index0/level": "1\n",
        sysfs + "cache/index0/type": "Data\n",
        sysfs + "cache/index0/size": "64K\n",
        sysfs + "cache/index1/level": "1\n",
        sysfs + "cache/index1/type": "Instruction\n",
        sysfs + "cache/index1/size": "48K\n",
        sysfs + "cache/index2/level": "2\n",
        sysfs + "cache/index2/type": "Unified\n",
        sysfs + "cache/index2/size": "768K\n",
        sysfs + "cache/index2/shared_cpu_list": "0-1,4\n",
    }
    board = machine(tmp_path, monkeypatch, "aarch64", ARM.format(features="asimddp", part="0xd0b"), files)
    cpu = cpu_of(board)
    assert (cpu.core, cpu.variant, cpu.fma_per_cycle, cpu.dot_per_cycle) == ("Arm Cortex-A76", "dotprod", 2, 2)
    assert (cpu.clock_max_mhz, cpu.l1d_kib, cpu.l2_kib, cpu.l2_cores, cpu.l3_kib) == (2200, 64, 768, 3, 0)
    assert board.source["cpu.pipes"].startswith("as rpi5: ")


def test_a_machine_that_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board = machine(tmp_path, monkeypatch, "x86_64", "")
    cpu = cpu_of(board)
    assert cpu.variant == "generic_x86_64"
    assert board.clock_mhz == host.FALLBACK_MHZ
    assert board.source["clock_mhz"] == "not known, assumed"


def test_an_architecture_without_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine(tmp_path, monkeypatch, "riscv64", "").cpu is None


def test_every_core_of_the_table_names_one_processor_each() -> None:
    import tomllib
    from importlib import resources

    table = tomllib.loads((resources.files("edgewright.targets") / "cores.toml").read_text(encoding="utf-8"))
    seen: set[tuple[str, int, int]] = set()
    for core in table["core"]:
        assert core["issue_width"] >= core["fma_per_cycle"] > 0 < core["mull_per_cycle"], core["name"]
        for first, last in core.get("models", []):
            for model in range(first, last + 1):
                key = (core["vendor"], core["family"], model)
                assert key not in seen, key
                seen.add(key)
    assert len(seen) > 100
