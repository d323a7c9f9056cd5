"""Random texts in the language of ``dlir.lark``, valid and with every liberty that the grammar gives."""

from __future__ import annotations

import random

import support.text_dialect  # noqa: F401 - its ops are used

Scope = list[tuple[str, str]]

_TENSORS = ["tensor<4xf32>", "tensor<?x4xf32>", "tensor<f16>", "tensor<0x4xi8>", "tensor<2x3xbf16, #d.enc<a>>"]


class RandomText:
    """Makes one module after another from a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.number = 0

    def module(self) -> str:
        """The text of a module."""
        aliases = '!alias0 = i32\n!alias1 = tensor<4x?xf32>\n#one = 1\n#list = [#one, 2]\n#here = loc("h":1:2)\n'
        scope: Scope = [("%x", "tensor<4xf32>"), ("%y", "tensor<0x4xi8>")]
        attributes = self.dictionary(dialect="d.").strip()
        arguments = f"%x: tensor<4xf32> {self.dictionary()}, %y: tensor<0x4xi8>" + self.maybe(' loc("a":1:2)')
        body = self.ops(list(scope), 0)
        head = f"func.func @f({arguments}) -> {self.type(plain=True)}"
        tail = '#later = loc(callsite(#here at "late"))\n'
        return f"{aliases}module @m attributes {attributes} {{ {head} {{ {body} }} {self.ops([], 0)} }}\n{tail}"

    # ------------------------------------------------------------ tokens

    def pick(self, *choices: str) -> str:
        return self.random.choice(choices)

    def maybe(self, text: str, chance: float = 0.3) -> str:
        return text if self.random.random() < chance else ""

    def blank(self) -> str:
        """A blank, sometimes an odd one."""
        return self.pick(" ", "  ", "\n", "\n  ", ' // c %x = "s" {\n', "\t") if self.random.random() < 0.2 else " "

    def gap(self) -> str:
        """Usually nothing."""
        return self.blank() if self.random.random() < 0.15 else ""

    def listed(self, items: list[str]) -> str:
        return (self.gap() + "," + self.blank()).join(items)

    # ------------------------------------------------------------ types

    def scalar(self) -> str:
        return self.pick("f32", "i1", "i64", "index", "bf16", "si8", "f16", "ui32", "f8E4M3FN")

    def type(self, depth: int = 0, plain: bool = False) -> str:
        """A type; with `plain`, not a function type."""
        kind = self.random.random()
        if kind < 0.3 or depth > 3:
            return self.scalar()
        if kind < 0.6:
            dims = "".join(self.pick("4x", "?x", "0x", "16x", "1x") for _ in range(self.random.randrange(4)))
            encoding = self.pick("", "", ", #d.e", ", 1 : i32", ', #d.enc<"a", [1, 2]>')
            return f"tensor<{dims}{self.scalar()}{encoding}>"
        if kind < 0.7:
            layout = self.pick("", ", strided<[?, 1], offset: 4>", ", affine_map<(d0) -> (d0)>", ", 3", ', 1, "global"')
            return f"memref<4x?xf32{layout.replace(', 1, ', ', strided<[1, 1]>, ')}>"
        return self.pick(
            *("tensor<*xf32>", "!alias0", "!alias1", "!d.t", "!d.t<>", '!d.t<[1, 2], "x>", {k = (3)}>', "complex<f32>"),
            *("vector<4xf32>", "vector<[4]x2xi8>", "none", f"!d.t<{self.type(depth + 1, plain=True)}>"),
            "tuple<" + self.listed([self.type(depth + 1) for _ in range(self.random.randrange(3))]) + ">",
            *([] if plain else [self.function([self.type(depth + 1)], [self.type(depth + 1)])]),
        )

    def function(self, inputs: list[str], results: list[str]) -> str:
        bare = len(results) == 1 and not results[0].startswith("(") and self.random.random() < 0.7
        out = results[0] if bare else "(" + self.listed(results) + ")"
        return f"({self.gap()}{self.listed(inputs)}){self.gap()}->{self.gap()}{out}"

    # ------------------------------------------------------------ attributes

    def attribute(self, depth: int = 0) -> str:
        kind = self.random.randrange(12)
        if kind < 3:
            return self.pick(
                "0", "1", "-7", "42", "1.0", "-2.5e-3", "1.", "0x1F", "3.0E+10", "7:i8", "1 : i1", "2.5 : f16"
            )
        if kind == 3 and depth < 3:
            return "[" + self.listed([self.attribute(depth + 1) for _ in range(self.random.randrange(4))]) + "]"
        if kind == 4 and depth < 3:
            return self.dictionary(depth + 1).strip()
        if kind == 5:
            return self.type()
        return self.pick(
            *("true", "false", "unit", '""', '"x\\22y\\n"', '"// no"', '"{}>"', '"t" : !d.s', "@f", '@f::@"a b"::@c'),
            *("[1, -2]", "[]", "[ 1,2 ]"),
            *("dense<1> : tensor<2xi8>", "dense<[[1.5, -2.0e3], [3., 0x7F800000]]> : tensor<2x2xf32>"),
            *("dense<true> : tensor<3xi1>", 'dense<"0x0000803F"> : tensor<1xf32>', "dense<[]> : tensor<0xf32>"),
            *(
                "dense<(1.0, 2.0)> : tensor<2xcomplex<f32>>",
                'dense<["a", "b"]> : tensor<2x!d.s>',
                "dense<> : tensor<0x4xi8>",
            ),
            *(
                "dense_resource<w> : tensor<4xf32>",
                'dense_resource<"w w"> : tensor<i8>',
                "array<i64>",
                "array<i64: 1, 2>",
            ),
            *("array<f32: 1.0, 0x7FC00000>", "array<i1: true, false>", "#one", "#list", "#d.a", "#d.a<1>", "#d<a b>"),
            *("#d.conv<[b, f, 0]x[o, i]->[b]>", '#d.a<[1, {x = ">"}], (a)>', "affine_map<(d0)[s0] -> (d0 + s0 * 2)>"),
            *(
                "affine_set<(d0) : (d0 - 1 >= 0)>",
                "strided<[?, 1]>",
                "distinct[0]<unit>",
                'loc("f":1:2)',
                "loc(unknown)",
            ),
        )

    def dictionary(self, depth: int = 0, dialect: str = "") -> str:
        names = ["a", "b.c", "loc", "func", "module", "dense", "true", "f32", "tensor", "return", "q k", "at", "unit"]
        entries = []
        for word in self.random.sample(names, self.random.randrange(4)):
            name = dialect + word if " " not in word else f'"{dialect}{word}"'
            entries.append(
                name if self.random.random() < 0.2 else f"{name}{self.blank()}={self.gap()}{self.attribute(depth)}"
            )
        return " {" + self.gap() + self.listed(entries) + self.gap() + "}"

    # ------------------------------------------------------------ operations

    def ops(self, scope: Scope, depth: int) -> str:
        return " ".join(self.op(scope, depth) + self.pick(" ", "\n") for _ in range(self.random.randrange(1, 6)))

    def region(self, scope: Scope, depth: int) -> str:
        text = "{ " + self.ops(list(scope), depth)
        for index in range(self.random.randrange(2)):
            self.number += 1
            arguments = [(f"%b{self.number}_{i}", self.type()) for i in range(self.random.randrange(3))]
            listed = self.listed([f"{name}: {type}" + self.maybe(" loc(#later)") for name, type in arguments])
            head = f"({listed})" if arguments else self.maybe("()")
            text += f"^bb{index + 1}{head}:{self.blank()}{self.ops(list(scope) + arguments, depth)}"
        return text + "}"

    def op(self, scope: Scope, depth: int) -> str:
        location = self.maybe(
            self.pick(
                *(' loc("f":1:2)', " loc(unknown)", " loc(#later)", ' loc("n"("f":1:2))', ' loc(fused["a", #here])'),
                *(
                    ' loc(callsite("a" at #later))',
                    ' loc("f":1:2 to :9)',
                    ' loc("f":1:2 to 3:4)',
                    ' loc(fused<1>["a"])',
                ),
            ),
            0.2,
        )
        make = self.pretty if self.random.random() < 0.5 else self.generic
        return make(scope, depth) + location

    def results(self, scope: Scope, types: list[str]) -> str:
        """``%names =`` for results of these types."""
        if not types:
            return ""
        self.number += 1
        name = f"%{self.pick('v', 'long.name$', '')}{self.number}"
        if len(types) > 1 and self.random.random() < 0.5:
            scope += [(f"{name}#{index}", type) for index, type in enumerate(types)]
            return f"{name}{self.gap()}:{self.gap()}{len(types)}{self.blank()}={self.gap()}"
        names = [f"{name}_{index}" if index else name for index in range(len(types))]
        if name[1:].isdigit():
            names = [f"%{self.number}00{index}" for index in range(len(types))]
        scope += zip(names, types, strict=True)
        return self.listed(names) + self.blank() + "=" + self.gap()

    def operands(self, scope: Scope) -> Scope:
        return [self.random.choice(scope) for _ in range(self.random.randrange(4))] if scope else []

    def generic(self, scope: Scope, depth: int) -> str:
        operands = self.operands(scope)
        types = [self.type() for _ in range(self.random.randrange(3))]
        text = f'"{self.pick("d.op", "a.b.c", "other.x")}"{self.gap()}({self.gap()}'
        text += self.listed([name for name, _ in operands]) + self.gap() + ")"
        text += self.maybe("[]", 0.05) + self.maybe(f" <{self.dictionary().strip()}>", 0.15)
        if depth < 3 and self.random.random() < 0.15:
            regions = [self.region(scope, depth + 1) for _ in range(self.random.randrange(1, 3))]
            text += f" ({self.listed(regions)})"
        trailing = self.maybe(self.dictionary(), 0.4) if "<{" not in text else ""
        signature = self.function([type for _, type in operands], types)
        return self.results(scope, types) + f"{text}{trailing}{self.blank()}:{self.gap()}{signature}"

    def pretty(self, scope: Scope, depth: int) -> str:
        tensors = [(name, type) for name, type in scope if type in _TENSORS]
        kind = self.random.randrange(7)
        if kind == 0 and tensors:
            name, type = self.random.choice(tensors)
            other = self.random.choice([found for found, kind in tensors if kind == type])
            return self.results(scope, [type]) + f"tst.add {name},{self.blank()}{other}" + self.maybe(f" : {type}")
        if kind == 1 and tensors:
            name, type = self.random.choice(tensors)
            return self.results(scope, [type, type]) + f"tst.pair {name}" + self.maybe(f" : {type}, {type}")
        if kind == 2 and tensors:
            name, type = self.random.choice(tensors)
            rest = ", ".join([name] * self.random.randrange(1, 6))
            return self.results(scope, [type]) + f"tst.groups {rest}" + self.maybe(f" : ({type}) -> {type}", 0)
        if kind == 3 and depth < 3:
            types = [self.type(plain=True) for _ in range(self.random.randrange(1, 3))]
            operands = self.operands(scope)
            inner = self.region(scope, depth + 1) if self.random.random() < 0.5 else "{" + self.ops([], depth + 1) + "}"
            name = "tst.loop" if "%" in inner else "tst.island"
            text = f"{name} {self.listed([name for name, _ in operands])} ({inner}) : "
            return self.results(scope, types) + text + self.listed(types)
        if kind == 4:
            entries = self.random.sample(
                [
                    "axes = [1, 2]",
                    "axes = array<i64>",
                    "eps = 1",
                    "eps = 2.5",
                    "count = 3",
                    "flag = true",
                    'mode = "far"',
                ]
                + ['label = "x"', "to = f32", "items = [1, @f]", "fast", "d.extra = #one", "to = tensor<4xf32>"],
                self.random.randrange(4),
            )
            unique = {entry.partition(" ")[0]: entry for entry in entries}
            return f"tst.attributes {{{self.listed(list(unique.values()))}}}"
        if kind == 5:
            operands = self.operands(scope)
            values = self.listed([name for name, _ in operands])
            types = [self.type() for _ in range(self.random.randrange(2))]
            signature = self.function([type for _, type in operands], types)
            return self.results(scope, types) + f"tst.refer @{self.pick('f', 'm::@f')} {values} : {signature}"
        type = self.random.choice(_TENSORS)
        return self.results(scope, [type]) + f'"d.source"() : () -> {type}'
