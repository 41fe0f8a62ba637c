"""Reads and writes of streams, loads and stores of locked banks, as words and as the numbers in them."""

from __future__ import annotations

from contextlib import nullcontext

from edgewright.hw.kernel import ir
from edgewright.hw.kernel.affine import Affine, flat
from edgewright.hw.kernel.cpp_expr import BOOL, Expr, cast
from edgewright.hw.kernel.cpp_lanes import Lines
from edgewright.hw.kernel.cpp_types import Names, field_name, int_name, shape_note
from edgewright.hw.kernel.cpp_values import Base
from edgewright.hw.kernel.cpp_variables import Variables, partition, plain_init
from edgewright.hw.kernel.cpp_words import Carriers, Run, Word, implementation, words_of
from edgewright.hw.kernel.types import Int, Type, elem_of, leaf, leaves, shape_of, size_of

Path = tuple[str, ...]
Parts = dict[Path, Base]


class Memories(Variables):
    """Statements that touch streams and banks. `parts` holds the leaves of tokens that came as words, `words` the variables of
    those words, as long as they hold the whole token."""

    def __init__(self, process: ir.Process, nodes: list[ir.Node], carriers: Carriers, names: Names, out: Lines) -> None:
        super().__init__(process, nodes, carriers, names, out)
        self.parts: dict[ir.Node, Parts] = {}
        self.words: dict[ir.Node, list[tuple[Word, str]]] = {}

    def token_name(self, node: ir.Node, fallback: str) -> str:
        """Return the Python name of a struct token, from the names of its parts; else `fallback`."""
        if node in self.process.names:
            return self.process.names[node]
        for part, name in self.process.names.items():
            if isinstance(part.op, ir.Part) and part.args[0] is node:
                tail = "_" + "_".join(part.op.path)
                if name.endswith(tail) and len(name) > len(tail):
                    return name[: -len(tail)]
        return fallback

    # --- the numbers in words ---------------------------------------------------------------------------------------

    def declare(self, name: str, t: Type, out: Lines, static: bool = False, copies: int = 0) -> Parts:
        """Declare a variable for each leaf; with `copies` an array that holds that many of it."""
        parts: Parts = {}
        for path, part, _ in leaves(t):
            e, shape = elem_of(part), shape_of(part)
            held = (copies, *shape) if copies else shape
            text = self.local.claim("_".join([name, *path]))
            extent = f"[{size_of(held)}]" if held else ""
            out.add(f"{'static ' if static else ''}{int_name(e)} {text}{extent};{shape_note(leaf(e, held))}")
            if held:
                out.add(partition(text))
            parts[path] = Base(text, e, array=bool(held), size=size_of(held))
        return parts

    def fill_parts(self, parts: Parts, t: Type, words: list[tuple[Word, str]], copy: int = 0) -> None:
        """Print the assignments of what is in some words to the variables of leaves, or to their `copy`-th element."""
        sizes = {path: size_of(shape_of(part)) for path, part, _ in leaves(t)}
        for word, text in words:
            for run in word.runs:
                self.out.add(self.taken(parts[run.path], run, sizes[run.path], word, text, copy))

    def taken(self, base: Base, run: Run, size: int, word: Word, text: str, copy: int) -> str:
        e, letter = run.elem, "i" if run.elem.signed else "u"
        if not base.array or (run.count == 1 and copy):
            target = base.at(Affine(copy * size + run.first)).text
            return f"{target} = {number_in(word, run, text)};"
        first = copy * size + run.first
        if (first, run.low) == (0, 0) and run.count == base.size:
            return f"unpack_{letter}<{e.bits}>({base.text}, {text});"
        return f"take_{letter}<{e.bits}, {first}, {run.count}>({base.text}, {text}, {run.low});"

    def token_parts(self, node: ir.Node, name: str, words: list[tuple[Word, str]]) -> None:
        """Declare the leaves of a token that came as words, and print where they are in them."""
        t = node.type
        parts: Parts = {}
        for path, part, _ in leaves(t):
            if shape_of(part):
                parts |= {(*path, *p): b for p, b in self.declare("_".join([name, *path]), part, self.out).items()}
                continue
            ((word, text, run),) = [(w, s, r) for w, s in words for r in w.runs if r.path == path]
            unique = self.local.claim("_".join([name, *path]))
            self.out.add(f"const {int_name(run.elem)} {unique} = {number_in(word, run, text)};")
            parts[path] = Base(unique, run.elem, array=False)
        arrays = {path for path, part, _ in leaves(t) if shape_of(part)}
        kept = [(Word(w.bits, tuple(r for r in w.runs if r.path in arrays)), s) for w, s in words]
        self.fill_parts(parts, t, kept)
        self.note(node, parts)

    def note(self, node: ir.Node, parts: Parts) -> None:
        """Note where the leaves of a token are."""
        self.parts[node] = parts
        self.values.base[node] = parts.get((), Base("", BOOL, array=False))

    # --- streams ----------------------------------------------------------------------------------------------------

    def token_base(self, node: ir.Node, name: str) -> None:
        """Note where a token that is carried as it is lies."""
        t = node.type
        self.values.base[node] = Base(name, t if isinstance(t, Int) else BOOL, array=False)

    def read(self, node: ir.Node, op: ir.Read) -> None:
        streams, words = self.ports[op.channel], self.carriers.words(op.channel)
        when = f"if ({self.values.scalar(node.args[0]).text}) " if op.guarded else ""
        if not self.values.uses[node]:
            for stream in streams:
                self.out.add(f"{when}{stream}.read();")
            return
        wanted = self.token_name(node, f"{op.channel.name}_token")
        if not words:
            (stream,), token = streams, self.carriers.names.token(op.channel.type)
            name = self.local.claim(wanted)
            if op.guarded:
                self.statics.add(f"static {token} {name};")
                self.out.add(f"{when}{name} = {stream}.read();")
            else:
                self.out.add(f"const {token} {name} = {stream}.read();")
            self.token_base(node, name)
            return
        if op.guarded:
            parts = self.declare(wanted, op.channel.type, self.statics, static=True)
            with self.out.block(when.rstrip()):
                self.fill_parts(parts, op.channel.type, self.received(wanted, streams, words, inline=True))
            self.note(node, parts)
            return
        scalar = isinstance(op.channel.type, Int)
        received = self.received(wanted, streams, words, inline=scalar)
        if not scalar:
            self.words[node] = received
        self.token_parts(node, wanted, received)

    def received(self, name: str, streams: list[str], words: tuple[Word, ...], inline: bool = False) -> list[tuple[Word, str]]:
        """Read the words of a token into variables; `inline`: not those in which there is one thing only."""
        out = []
        for n, (stream, word) in enumerate(zip(streams, words, strict=True)):
            if inline and len(word.runs) == 1:
                out.append((word, f"{stream}.read()"))
                continue
            text = self.local.claim(f"{name}_word" if len(words) == 1 else f"{name}_word_{n}")
            self.out.add(f"const {word.type} {text} = {stream}.read();")
            out.append((word, text))
        return out

    def part(self, node: ir.Node, op: ir.Part) -> None:
        source = node.args[0]
        if source in self.parts:
            self.values.base[node] = self.parts[source][op.path]
            return
        path = ".".join(field_name(p) for p in op.path)
        self.values.base[node] = Base(f"{self.values.base[source].text}.{path}", elem_of(node.type), array=False)

    def write(self, node: ir.Node, op: ir.Write) -> None:
        parts = ir.write_parts(node)
        if parts.when is None:
            self.send(op.channel, parts.values)
            return
        with self.out.block(f"if ({self.values.scalar(parts.when).text})"):
            self.send(op.channel, parts.values)

    def send(self, channel: ir.Channel, values: tuple[ir.Node, ...]) -> None:
        streams, words, t = self.ports[channel], self.carriers.words(channel), channel.type
        if words:
            for stream, text in zip(streams, self.packed(channel.name, t, words, values), strict=True):
                self.out.add(f"{stream}.write({text});")
            return
        (stream,) = streams
        if isinstance(t, Int):
            value = self.values.scalar(values[0])
            self.out.add(f"{stream}.write({cast(value, t).text if value.literal or not value.declared else value.text});")
            return
        name = self.local.claim(f"{channel.name}_token")
        self.out.add(f"{self.carriers.names.token(t)} {name};")
        for (path, leaf_type, _), node in zip(leaves(t), values, strict=True):
            target = ".".join([name, *(field_name(p) for p in path)])
            self.out.add(f"{target} = {plain_init(self.values.scalar(node), elem_of(leaf_type))};")
        self.out.add(f"{stream}.write({name});")

    # --- numbers into words -----------------------------------------------------------------------------------------

    def packed(self, name: str, t: Type, words: tuple[Word, ...], values: tuple[ir.Node, ...]) -> list[str]:
        """Return the texts of the words of a token, and print what they need. A token that came in such words is passed on."""
        if len(values) == 1 and values[0] in self.words and [w for w, _ in self.words[values[0]]] == list(words):
            return [text for _, text in self.words[values[0]]]
        nodes = {path: node for (path, _, _), node in zip(leaves(t), values, strict=True)}
        return [self.packed_word(f"{name}_word", word, nodes) for word in words]

    def packed_word(self, name: str, word: Word, nodes: dict[Path, ir.Node]) -> str:
        arrays = {run.path: self.whole_array(nodes[run.path], run) for run in word.runs}
        if len(word.runs) == 1:
            (run,) = word.runs
            text = arrays[run.path]
            if text:
                return f"packed<{word.bits}, {run.elem.bits}, {run.first}, {run.count}>({text})"
            value = self.values.scalar(nodes[run.path]) if not shape_of(nodes[run.path].type) else None
            if value is not None and not run.elem.signed:
                return cast(value, Int(word.bits, False)).text
        unique = self.local.claim(name)
        self.out.add(f"{word.type} {unique} = 0;")
        for run in word.runs:
            node, text = nodes[run.path], arrays[run.path]
            shape = shape_of(node.type)
            if not shape:
                value = cast(self.values.scalar(node), run.elem)
                self.out.add(f"place<{run.elem.bits}>({unique}, {run.low}, {value.text});")
            elif text:
                self.out.add(f"put<{run.elem.bits}, {run.first}, {run.count}>({unique}, {run.low}, {text});")
            else:
                with self.out.lanes(shape) as index:
                    value = cast(self.values.element(node, index), run.elem)
                    bit = flat(index, shape) * run.elem.bits + run.low
                    self.out.add(f"place<{run.elem.bits}>({unique}, {bit.spaced()}, {value.text});")
        return unique

    def whole_array(self, node: ir.Node, run: Run) -> str:
        """Return the name of an array variable with the numbers of a leaf. Where only a part of it is wanted, it is made."""
        shape = shape_of(node.type)
        base = self.values.base.get(node)
        if base is not None and base.array and base.type == run.elem and shape:
            return base.text
        if not shape or (run.first == 0 and run.count == size_of(shape)):
            return ""
        text = self.local.claim("numbers")
        self.out.add(f"{int_name(run.elem)} {text}[{size_of(shape)}];{shape_note(node.type)}")
        self.out.add(partition(text))
        with self.out.lanes(shape) as index:
            value = plain_init(self.values.element(node, index), run.elem)
            self.out.add(f"{text}[{flat(index, shape).spaced()}] = {value};")
        self.values.base[node] = Base(text, run.elem, array=True)
        return text

    # --- banks ------------------------------------------------------------------------------------------------------

    def load(self, node: ir.Node, op: ir.Load) -> None:
        buffer, address, t = op.buffer, node.args[0], op.buffer.type
        if buffer.ring:
            self.replay(node, buffer)
            return
        memory, lanes = self.carriers.memories[buffer], shape_of(address.type)
        taken = self.process.of(ir.Load)
        first = sum(size_of(shape_of(n.args[0].type)) for n in taken[: taken.index(node)] if n.op == op)
        name = self.token_name(node, f"{buffer.name}_entry")
        count = len(memory.words)
        if not lanes:
            banks = self.ports[buffer][first * count : (first + 1) * count]
            words = self.loaded(name, banks, memory.words, self.values.scalar(address))
            self.words[node] = words
            self.token_parts(node, name, words)
            return
        parts = self.declare(name, t, self.out, copies=lanes[0])
        for lane in range(lanes[0]):
            banks = self.ports[buffer][(first + lane) * count : (first + lane + 1) * count]
            words = self.loaded(name, banks, memory.words, self.values.element(address, (Affine(lane),)))
            self.fill_parts(parts, t, words, lane)
        self.note(node, parts)

    def loaded(self, name: str, banks: list[str], words: tuple[Word, ...], address: Expr) -> list[tuple[Word, str]]:
        """Read the words at an address into variables."""
        out = []
        for n, (bank, word) in enumerate(zip(banks, words, strict=True)):
            text = self.local.claim(f"{name}_word" if len(words) == 1 else f"{name}_word_{n}")
            self.out.add(f"const {word.type} {text} = {bank}[int({address.text})];")
            out.append((word, text))
        return out

    def replay(self, node: ir.Node, ring: ir.Buffer) -> None:
        """Take the next element of a stream into the window, or read the window."""
        name, words = self.token_name(node, f"{ring.name}_entry"), self.carriers.memories[ring].words
        fresh = self.values.scalar(node.args[1]).text
        held: list[tuple[Word, str]] = []
        for n, (stream, word) in enumerate(zip(self.ports[ring], words, strict=True)):
            tail = "" if len(words) == 1 else f"_{n}"
            window = self.local.claim(f"{ring.name}_window{tail}")
            if ring.window == 1:
                self.statics.add(f"static {word.type} {window};")
                self.out.add(f"if ({fresh}) {window} = {stream}.read();")
                held.append((word, window))
                continue
            made = implementation(ring.style, word.bits, ring.window)
            self.statics.add(f"static {word.type} {window}[{ring.window}];")
            self.statics.add(f"#pragma HLS BIND_STORAGE variable={window} type=ram_s2p impl={made}")
            text = self.local.claim(f"{name}_word{tail}")
            at = f"{window}[int({self.values.scalar(node.args[0]).text})]"
            self.out.add(f"{word.type} {text};")
            with self.out.block(f"if ({fresh})", "} else {"):
                self.out.add(f"{text} = {stream}.read();")
                self.out.add(f"{at} = {text};")
            self.out.depth += 1
            self.out.add(f"{text} = {at};")
            self.out.depth -= 1
            self.out.add("}")
            held.append((word, text))
        if ring.window > 1:
            self.words[node] = held
        self.token_parts(node, name, held)

    def delay(self, node: ir.Node, op: ir.Delay) -> None:
        """Walk the places of a delay line in a circle; each tap has memories of its own, one for each word of a value.

        Where taps may be one value apart, what was written last is held beside them: to read it in the next iteration, a
        memory would be too late."""
        x, n, clear = node.args[:3]
        base, size, name = self.state(node), size_of(shape_of(x.type)), self.process.names.get(node, "line")
        words = words_of(x.type)
        texts = self.packed(name, x.type, words, (x,))
        length, at = self.local.claim(f"{name}_length"), self.local.claim(f"{name}_at")
        self.statics.add(f"static int {at};")
        guard = f"if ({self.values.scalar(node.args[3]).text})" if op.guarded else ""
        with self.out.block(guard) if guard else nullcontext():
            self.out.add(f"const int {length} = int({self.values.scalar(n).text});")
            self.out.add(f"if ({self.values.scalar(clear).text}) {at} = 0;")
            for tap in range(op.count):
                texts = [
                    self.tap(f"{name}_{tap}_{number}", op, word, text, (length, at))
                    for number, (word, text) in enumerate(zip(words, texts, strict=True))
                ]
                for word, text in zip(words, texts, strict=True):
                    for run in word.runs:
                        self.out.add(self.taken(base, run, size, word, text, tap))
            self.out.add(f"{at} = {at} + 1 == {length} ? 0 : {at} + 1;")

    def tap(self, name: str, op: ir.Delay, word: Word, text: str, line: tuple[str, str]) -> str:
        """Print the memory of one word of a tap, which ``text`` goes into; return the variable of what comes out. ``line``: the
        variables of its length and of the place."""
        length, at = line
        memory, old = self.local.claim(f"{name}_memory"), self.local.claim(f"{name}_old")
        self.statics.add(f"static {word.type} {memory}[{op.most}];")
        made = "bram" if op.block else "lutram"
        self.statics.add(f"#pragma HLS BIND_STORAGE variable={memory} type=ram_s2p impl={made}")
        distance = max(2, op.least)
        self.statics.add(
            f"#pragma HLS DEPENDENCE variable={memory} type=inter direction=RAW distance={distance} dependent=true"
        )
        if op.least >= distance:
            self.out.add(f"const {word.type} {old} = {memory}[{at}];")
            self.out.add(f"{memory}[{at}] = {text};")
            return old
        last, new = self.local.claim(f"{name}_last"), self.local.claim(f"{name}_new")
        self.statics.add(f"static {word.type} {last};")
        self.out.add(f"const {word.type} {new} = {text};")
        self.out.add(f"const {word.type} {old} = {length} == 1 ? {last} : {memory}[{at}];")
        self.out.add(f"{memory}[{at}] = {new};")
        self.out.add(f"{last} = {new};")
        return old

    def store(self, node: ir.Node, op: ir.Store) -> None:
        parts = ir.store_parts(node)
        if parts.when is None:
            self.put(op.buffer, parts)
            return
        with self.out.block(f"if ({self.values.scalar(parts.when).text})"):
            self.put(op.buffer, parts)

    def put(self, buffer: ir.Buffer, parts: ir.StoreParts) -> None:
        banks, t, memory = self.ports[buffer], buffer.type, self.carriers.memories[buffer]
        texts = self.packed(buffer.name, t, memory.words, parts.values)
        if buffer.ring:
            for stream, text in zip(banks, texts, strict=True):
                self.out.add(f"{stream}.write({text});")
            return
        at = self.values.scalar(parts.address).text
        lanes = shape_of(t)[0] if parts.mask is not None else 1
        for n, text in enumerate(texts):
            guard = ""
            if parts.mask is not None:
                lane = Affine(n * lanes // len(texts))
                guard = f"if ({self.values.element(parts.mask, (lane,)).text}) "
            named = text
            if memory.copies > 1 and not text.isidentifier():
                named = self.local.claim(f"{buffer.name}_word")
                self.out.add(f"const {memory.words[n].type} {named} = {text};")
            for bank in banks[n :: len(texts)]:
                self.out.add(f"{guard}{bank}[int({at})] = {named};")


def number_in(word: Word, run: Run, text: str) -> str:
    """Return the expression of the only number of a run."""
    e = run.elem
    if e.bits == word.bits and not e.signed:
        return text
    if run.low == 0:
        return f"wrap_{'i' if e.signed else 'u'}<{e.bits}>({text})"
    part = f"slice<{e.bits}>({text}, {run.low})"
    return f"wrap_i<{e.bits}>({part})" if e.signed else part
