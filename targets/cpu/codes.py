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
least one query in the 48 KiB that a block of threads shares, some 9,000 keys.
The CPU of the same board runs more.""",
    "T033": """the CUDA compiler failed
The kernels that Edgewright prints always compile; what the compiler said is in the message. If its installation works
otherwise, this is a bug in Edgewright.""",
    "T034": """unknown GPU architecture
CUDA code is made for the GPUs of the Jetson boards: sm_53 (Nano), sm_72 (Xavier NX), sm_87 (Orin Nano).""",
    "T040": """there is no such device
A device is `local` (this machine), `qemu` (an emulated aarch64 processor), `ssh://[user@]host[:port]`, or TVM's RPC:
`rpc://host:port`, with a tracker `rpc://host:port?tracker=host:port&key=name`.""",
    "T041": """the device does not answer
Nothing came back in time: the name is wrong, the board is off, a firewall drops packets, or something else than sshd or
TVM's RPC server listens on that port. `ssh host true` from a terminal has to work without a question.""",
    "T042": """the device refuses connections
The machine is there, but nothing listens on that port. For ssh, install and start sshd; for rpc, start
`python -m tvm.exec.rpc_server --host 127.0.0.1 --port 9090` there and reach it through `ssh -L`. TVM's RPC runs whatever it
is sent, for anybody who can reach its port: bind it to loopback, or to a network that you trust.""",
    "T043": """the device's host key is not the known one
ssh found another key than the one it remembers, or none. A board that was installed anew has a new key; so has somebody
who answers in its place. Compare the key on the board (`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub`) before you
remove the old one with `ssh-keygen -R host`, and connect once with ssh to accept the new one.""",
    "T044": """the device does not let this user in
Passwords are never asked for: put a key there with `ssh-copy-id user@host`, and load it into the agent if it has a
passphrase.""",
    "T045": """the device has another architecture
The artifact holds machine code for one architecture, and this was found out before it was copied. A Raspberry Pi with a
32-bit system runs no 64-bit programs: install a 64-bit one.""",
    "T046": """the device's C library is missing or too old
The runner is linked against glibc 2.28 (2018) or newer. Systems with musl (Alpine) or older ones cannot load it.""",
    "T047": """the model's program was ended by a signal
SIGILL: the processor lacks an instruction that the artifact's kernels use. SIGKILL: mostly memory ran out. Anything else
is a bug in Edgewright, or faulty memory.""",
    "T048": """the measurement took too long
Everything that it had started was ended, here and on the device. Allow more time, or ask for fewer runs.""",
    "T049": """the device's processor cannot run this artifact
It lacks features that the artifact's kernels need, which the runner checks before it loads any code. Compile for the
board, or with --target host on the device itself.""",
    "T050": """the device could not take or start the files
A temporary folder (TMPDIR, or /tmp) on the device is full, read-only or mounted noexec, or its memory ran out.""",
    "T051": """the runner did not do what it should
It ended with an error, or its answer is incomplete, or not what the runner writes. What it said is in the message;
runner/README.md of the artifact tells how to start it by hand. Before it runs anything the runner compares model.txt,
model.so and weights.bin with their SHA-256: when it calls a file damaged that is right here, look for a full disk, a bad
memory card or faulty memory of the device.""",
    "T052": """TVM's RPC failed
The server may serve somebody else, run another version of TVM, lack the architecture, or have crashed, as it does on an
instruction that its processor lacks. Its own log says more. TVM's RPC runs whatever it is sent: keep it on loopback or on a
network that you trust.""",
    "T053": """a program or library for this kind of device is missing
For ssh it is OpenSSH's client, for qemu the C library of the emulated processor (Debian: libc6-arm64-cross).""",
    "T054": """the connection to the device was lost
It broke off while the model ran there. The device ends the run and removes its files by itself.""",
    "T055": """the device computes something else than the model
Integer models give the same bits everywhere, float models agree to 1e-4 of the largest output. A difference is a bug of
the compiler or faulty memory of the device. Please report it with the artifact.""",
}
