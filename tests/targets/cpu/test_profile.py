"""The profile: statistics and warnings from known numbers, sensors from a made-up /sys, the page with hostile names."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import numpy as np
import pytest
from edgewright.frontend.report.profile import files, lines
from edgewright.passes.diagnostics import CompileError, Exit
from edgewright.passes.ir.types import Array
from edgewright.passes.results import to_data
from edgewright.targets.cpu import profile_results
from edgewright.targets.cpu import qemu as emulator
from edgewright.targets.cpu.artifact import Artifact
from edgewright.targets.cpu.devices import DeviceMeasurement, LocalDevice, QemuDevice, Settings
from edgewright.targets.cpu.devices.measured import Conditions, Machine, Power, Rail, StepTime, TimedRun, Zone
from edgewright.targets.cpu.profile import mismatch, profile
from edgewright.targets.cpu.profile_results import ProfileReport

from tests.targets.cpu.made_artifacts import artifact, copied, expected, sample

pytestmark = pytest.mark.tvm
FEW = Settings(threads=(1, 2), warmup=1, repeat=5, steps=2, power_seconds=0)
MACHINE = Machine("A board", "aarch64", "6.1", "2.36", 4, 4.0 * 2**30)
SCHEMA = json.loads(Path(profile_results.__file__).with_name("profile_report.schema.json").read_text(encoding="utf-8"))
CALM = Conditions(("performance",), (1_500_000.0,), (1_500_000.0,), (Zone("cpu-thermal", 50_000),), 3, 0, 0.1)


@dataclass(frozen=True)
class Imagined:
    """A device that answers what a test says."""

    measured: DeviceMeasurement
    emulated: bool = False
    name: str = "imagined"

    def run(self, artifact: Artifact, inputs: Mapping[str, Array], settings: Settings) -> DeviceMeasurement:
        return self.measured


def answer(of: Artifact, times_ms: tuple[float, ...] = (2.0,) * 9 + (3.0,), **more: Any) -> DeviceMeasurement:
    times = tuple(round(one * 1e6) for one in times_ms)
    steps = tuple(StepTime(1000 * (i + 1), 900) for i in range(len(of.manifest.steps)))
    runs = (TimedRun(1, times, steps), TimedRun(2, tuple(t // 2 for t in times), steps))
    return replace(DeviceMeasurement(runs, expected(of), MACHINE, CALM, CALM), **more)


def data_of(of: Artifact, measured: DeviceMeasurement, **more: Any) -> dict[str, Any]:
    report = profile(of, Imagined(measured, **more), sample(of), FEW)
    written = files(report)
    data: dict[str, Any] = json.loads(written["profile.json"])
    jsonschema.validate(data, SCHEMA)
    assert data == to_data(report) and msgspec.convert(data, ProfileReport) == report
    assert written["profile.html"].startswith(b"<!doctype html>")
    return data


def test_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_statistics() -> None:
    of = artifact()
    data = data_of(of, answer(of, (1.0, 2.0, 3.0, 4.0, 5.0)))
    one, two = data["runs"]
    assert (one["min_ms"], one["median_ms"], one["mean_ms"], one["max_ms"], one["count"]) == (1.0, 3.0, 3.0, 5.0, 5)
    assert one["p95_ms"] == pytest.approx(4.8) and one["spread"] == pytest.approx((4.8 - 1.2) / 3)
    macs = sum(step.macs for step in of.manifest.steps)
    assert two["median_ms"] == 1.5 and two["gop_per_s"] == pytest.approx(2 * macs / 1.5e-3 * 1e-9)
    count = len(of.manifest.steps)
    assert sum(op["share"] for op in data["operations"]) == pytest.approx(1)
    assert data["operations"][1]["share"] == pytest.approx(2 / (count * (count + 1) / 2))
    assert data["check"]["right"] is True and data["check"]["equal_bits"] and data["power"] is None
    assert profile(of, Imagined(answer(of)), sample(of), FEW).median_ms == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"governors": ("ondemand",)}, "governor is ondemand"),
        ({"clock_khz": (600_000.0,)}, "was at 600 MHz, its maximum is 1,500 MHz"),
        ({"throttle_count": 5}, "throttled 2 times by its temperature"),
        ({"throttled_flags": 1}, "under-voltage"),
        ({"throttled_flags": 4 << 16}, "during the runs: throttled"),
        ({"thermal": (Zone("soc", 91_000),)}, "soc is at 91 °C"),
        ({"clock_khz": ()}, None),
    ],
)
def test_warnings_of_conditions(change: dict[str, Any], text: str | None) -> None:
    of = artifact()
    assert data_of(of, answer(of, (2.0,) * 10))["warnings"] == []
    warned = data_of(of, answer(of, (2.0,) * 10, after=msgspec.structs.replace(CALM, **change)))["warnings"]
    assert (warned == []) if text is None else (len(warned) == 1 and text in warned[0])


def test_warnings_of_noise() -> None:
    of = artifact()
    busy = msgspec.structs.replace(CALM, load=3.5)
    warned = data_of(of, answer(of, (2.0, 2.0, 2.0, 4.0), before=busy))["warnings"]
    assert len(warned) == 3 and "load was 3.5 on 4 processors" in warned[0] and "1 thread the times vary" in warned[1]
    warned = data_of(of, answer(of, (2.0,) * 5, before=None, after=None))["warnings"]
    assert len(warned) == 1 and "does not report its clock" in warned[0]


def test_energy() -> None:
    of = artifact()
    rails = (Rail("VDD_IN", 5000.0), Rail("VDD_CPU", 2000.0))
    power = Power(2, 500, 2.0, 40, (Rail("VDD_IN", 3000.0), Rail("VDD_CPU", 500.0)), rails)
    found = data_of(of, answer(of, power=power))["power"]
    assert found["input_rail"] == "VDD_IN" and found["rails"][0]["mj_per_inference"] == pytest.approx(20)
    assert found["rails"][1]["mj_above_idle"] == pytest.approx(6)


def test_other_bits_are_a_mismatch() -> None:
    of = artifact()
    outputs = {name: value.copy() for name, value in expected(of).items()}
    name = of.manifest.outputs[0].name
    outputs[name].flat[3] += 1
    report = profile(of, Imagined(answer(of, outputs=outputs)), sample(of), FEW)
    error = mismatch(report)
    assert report.exact is False and error is not None and error.exit_code == Exit.MISMATCH
    assert error.diagnostics[0].code == "T055" and (difference := report.check.first_difference) is not None
    assert difference.index[-1] == 3
    assert "other bits" in files(report)["profile.html"].decode()
    assert mismatch(profile(of, Imagined(answer(of)), sample(of), FEW)) is None


@pytest.mark.parametrize(("error", "is_right"), [(0.0, True), (5e-5, True), (3e-4, False), (np.nan, False), (np.inf, False)])
def test_floats_have_a_tolerance(error: float, is_right: bool) -> None:
    of = artifact(precision="fp32")
    outputs = {name: value.astype(np.float32) for name, value in expected(of).items()}
    value = outputs[of.manifest.outputs[0].name]
    value.flat[0] += error * np.abs(value).max()
    data = data_of(of, answer(of, outputs=outputs))
    assert data["check"]["right"] is is_right and data["check"]["tolerance"] == 1e-4


def test_an_emulator_gives_no_times() -> None:
    of = artifact()
    measured = answer(of, instructions=1_000_000, cpu="cortex-a72", machine=None, before=None, after=None)
    report = profile(of, Imagined(measured, emulated=True), sample(of), FEW, tvm_default_instructions=4_000_000)
    jsonschema.validate(to_data(report), SCHEMA)
    assert report.runs == () and not any(step.ms for step in report.operations)
    assert report.instructions is not None and report.instructions.of_tvm_default == 0.25
    assert report.median_ms is None and report.warnings == ()
    page = files(report)["profile.html"].decode()
    assert "say nothing about the device" in page and "GOP/s" not in page and "25" in page


def test_names_cannot_leave_their_place(tmp_path: Path) -> None:
    of = artifact()
    evil = "<script>alert(1)</script>\u202e\x07{{7*7}}$x^2$"
    steps = tuple(msgspec.structs.replace(step, name=evil, kind=evil) for step in of.manifest.steps)
    other = Artifact(of.directory, msgspec.structs.replace(of.manifest, model=evil, steps=steps))
    machine = msgspec.structs.replace(MACHINE, name=evil)
    report = profile(other, Imagined(answer(of, machine=machine)), sample(of), FEW)
    page = files(report)["profile.html"].decode()
    assert "<script" not in page and "\u202e" not in page and "\x07" not in page and ">49<" not in page
    assert not re.search(r"(?:src|href)=[\"']?(?:https?:)?//", page)


def test_samples_that_are_missing(tmp_path: Path) -> None:
    of = copied(artifact(), tmp_path / "copy")
    (of.directory / "checkpoints" / "samples.npz").unlink()
    with pytest.raises(CompileError) as raised:
        profile(of, Imagined(answer(artifact())))
    assert raised.value.diagnostics[0].code == "D009"


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_this_machine(precision: str) -> None:
    of = artifact(precision=precision)
    report = profile(of, LocalDevice(), settings=FEW)
    jsonschema.validate(to_data(report), SCHEMA)
    assert report.exact is True and report.median_ms is not None and report.median_ms > 0
    assert [run.threads for run in report.runs] == [1, 2]
    assert dict(lines(report))["outputs"] == ("identical bits" if precision == "int8" else "within tolerance")


def test_qemu() -> None:
    if missing := emulator.missing():
        pytest.skip(f"needs {', '.join(missing)}")
    report = profile(artifact("rpi4"), QemuDevice(), settings=FEW)
    jsonschema.validate(to_data(report), SCHEMA)
    assert report.exact is True and report.instructions is not None and report.instructions.per_inference > 0
    assert report.device.cpu == "cortex-a72"


def write(root: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def test_sensors(tmp_path: Path) -> None:
    cpu, hwmon = "sys/devices/system/cpu", "sys/class/hwmon/hwmon3"
    write(
        tmp_path,
        {
            f"{cpu}/cpu0/cpufreq/scaling_governor": "ondemand\n",
            f"{cpu}/cpu1/cpufreq/scaling_governor": "ondemand\n",
            f"{cpu}/cpu0/cpufreq/scaling_cur_freq": "600000\n",
            f"{cpu}/cpu1/cpufreq/scaling_cur_freq": "1500000\n",
            f"{cpu}/cpu0/cpufreq/cpuinfo_max_freq": "1500000\n",
            f"{cpu}/cpu0/thermal_throttle/core_throttle_count": "7\n",
            "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
            "sys/class/thermal/thermal_zone0/temp": "48312\n",
            "proc/device-tree/model": 'Raspberry Pi 4 "B"',
            "proc/loadavg": "0.42 0.1 0.0 1/100 5\n",
            "usr/bin/vcgencmd": "#!/bin/sh\necho throttled=0x50005\n",
            f"{hwmon}/name": "ina3221\n",
            f"{hwmon}/in1_label": "VDD_IN\n",
            f"{hwmon}/in1_input": "5000\n",
            f"{hwmon}/curr1_input": "800\n",
            f"{hwmon}/in2_input": "5000\n",
            "sys/class/hwmon/hwmon1/name": "coretemp\n",
            "sys/bus/iio/devices/iio:device0/rail_name_0": "POM_5V_CPU\n",
            "sys/bus/iio/devices/iio:device0/in_power0_input": "1234\n",
        },
    )
    (tmp_path / "usr/bin/vcgencmd").chmod(0o755)
    settings = replace(FEW, power_seconds=0.3)
    found = LocalDevice(tmp_path).run(artifact(), sample(artifact()), settings)
    assert found.machine is not None and found.machine.name == "Raspberry Pi 4 B"
    assert found.before == Conditions(
        ("ondemand",), (600_000.0, 1_500_000.0), (1_500_000.0,), (Zone("cpu-thermal", 48_312),), 7, 0x50005, 0.42
    )
    assert found.power is not None and found.power.runs > 0 and found.power.samples > 0
    assert found.power.busy == (Rail("VDD_IN", 4000.0), Rail("POM_5V_CPU", 1234.0)) == found.power.idle
    data = to_data(profile(artifact(), LocalDevice(tmp_path), sample(artifact()), settings))
    jsonschema.validate(data, SCHEMA)
    assert data["power"]["input_rail"] == "VDD_IN"
    assert {"governor is ondemand", "under-voltage"} <= {
        part for text in data["warnings"] for part in ("governor is ondemand", "under-voltage") if part in text
    }


def test_no_sensors(tmp_path: Path) -> None:
    found = LocalDevice(tmp_path).run(artifact(), sample(artifact()), replace(FEW, power_seconds=1))
    assert found.before == Conditions() and found.power is None
