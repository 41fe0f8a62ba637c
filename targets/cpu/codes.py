"""The long texts of the codes this room raises: first line the title, then what it means and what to do."""

from __future__ import annotations

TEXTS: dict[str, str] = {
    "T010": """the C compiler is missing
The CPU kernels are C, compiled for the target by the clang of PyPI's package ziglang, which needs no installation
besides `pip install ziglang` and also compiles for other architectures.""",
    "T011": """the C compiler failed
The kernels of this compiler and the glue it prints always compile; what the C compiler said is in the message. A full
disk or a broken installation of ziglang are the usual reasons: `python -m ziglang version` should print a version.
Otherwise it is a bug in Edgewright.""",
    "T012": """the emulator for aarch64 is missing
Programs for a Raspberry Pi or a Jetson run on this machine under QEMU's user emulation: Debian's and Ubuntu's package
qemu-user. Counting instructions needs its dynamically linked build, which takes plugins; the one of qemu-user-static
does not.""",
    "T013": """an emulated program took too long
It was ended. Emulation is 20 to 100 times slower than the processor it stands for: allow more time, or run a smaller
model.""",
    "T020": """an operator cannot run on a CPU target
The CPU path lowers every operator that the reader produces, in most forms. This one, or its form (weights that are
computed while the model runs, say), is missing; the message says which node and why.""",
    "T021": """the artifact is for another machine
A compiled model holds machine code for one architecture and the instructions of one family of processors; the manifest
lists them. Running it elsewhere would crash, so it is refused. Compile for this machine with `--target host`, or run it
on the board it was compiled for.""",
    "T022": """TVM is not installed
The CPU path generates code with TVM, and its Python runner runs on TVM's runtime: `pip install 'edgewright[cpu]'`. The
native runner in the artifact's folder runner/ needs neither.""",
    "T030": """no CUDA compiler that was found knows the architecture
NVIDIA drops old GPUs from new CUDA versions. CUDA 10.2 to 12.9 compile sm_53 (Jetson Nano) and sm_72 (Xavier NX), 11.4
and later compile sm_87 (Orin Nano); CUDA 13 knows only the last. `pip install nvidia-cuda-nvrtc-cu12` is enough for all
three, beside any nvcc. Without requiring a compiler the artifact holds the source, and nvcc on the board compiles it:
`nvcc -cubin -arch=sm_53 -o model.cubin model.cu`.""",
    "T031": """no CUDA compiler
Kernels are compiled by nvcc (of $CUDA_HOME, PATH or /usr/local/cuda) or by NVRTC (`pip install nvidia-cuda-nvrtc-cu12`);
neither was found. Without requiring one the artifact holds the source, and nvcc on the board compiles it.""",
    "T032": """an operator cannot run on a GPU
There is no CUDA kernel for it or for its form; the message says which node and why. Attention keeps the scores of at
least one query in the 48 KiB that a block of threads shares, some 11,000 keys in float32 and half of that without dp4a.
The CPU of the same board runs more.""",
    "T033": """the CUDA compiler failed
The kernels that Edgewright prints always compile; what the compiler said is in the message. If its installation works
otherwise, this is a bug in Edgewright.""",
    "T034": """unknown GPU architecture
CUDA code is made for the GPUs of the Jetson boards: sm_53 (Nano), sm_72 (Xavier NX), sm_87 (Orin Nano).""",
}
