"""Print the test bench of an engine's HLS C++: a program that runs on the headers of Vitis HLS and on the shim."""

from __future__ import annotations

from edgewright.hw.kernel import ir
from edgewright.hw.kernel.cpp import HLS_FOLDER, Printer, wrapped
from edgewright.hw.kernel.cpp_words import ports_of
from edgewright.hw.kernel.types import width
from jinja2 import Environment, FileSystemLoader, StrictUndefined

BENCH = "main.cpp"


def hls_bench(program: ir.Program) -> str:
    """Return main.cpp for a program with the streams ``start`` (address and number of descriptors) and ``finished``."""
    printer = Printer(program)
    inputs, outputs = ports_of(program)
    ports = [
        {"name": c.name, "stream": names[0], "bits": printer.carriers.words(c)[0].bits, "input": c in inputs}
        for c, names in printer.port.items()
    ]
    (start,) = (c for c in program.inputs if c.name == "start")
    readers = [{"requests": a.requests.name, "data": a.data.name} for a in program.axi if a.done is None]
    writers = [
        {"name": f"{a.name}_mover", "requests": a.requests.name, "data": a.data.name, "done": a.done.name}
        for a in program.axi
        if a.done is not None
    ]
    environment = Environment(
        loader=FileSystemLoader(HLS_FOLDER), undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True
    )
    call = f"{printer.top}({', '.join(names[0] for names in printer.port.values())});"
    return environment.get_template("main.cpp.j2").render(
        call="\n".join(wrapped(f"    {call}")).lstrip(),
        top=printer.top,
        block=program.name,
        ports=ports,
        readers=readers,
        writers=writers,
        start_bits=printer.carriers.words(start)[0].bits,
        start_note=f"{width(start.type)} bits: the address of the program, the number of its descriptors",
        read_counts=" + ".join(f"{r['data']}.count()" for r in readers),
        write_counts=" + ".join(f"{w['data']}.count()" for w in writers),
        output_counts=" + ".join(f"{c.name}.count()" for c in outputs),
    )


__all__ = ["BENCH", "hls_bench"]
