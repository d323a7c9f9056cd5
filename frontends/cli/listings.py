"""The lists that the commands print and the reference pages are made of: passes with options, dialects with ops."""

from __future__ import annotations

import dataclasses
import inspect
import json
import sys
from typing import Any, cast

from dlir.ir.op import Op
from dlir.ir.registry import DIALECTS, dialect_ops, load_dialect
from dlir.ir.schema import AttributeSpec
from dlir.passes.manager import PASSES, find_pass
from dlir.passes.pipelines import PIPELINES

_LIMITS = ("least", "most", "choices")

# ---------------------------------------------------------------- passes


def passes(form: str = "text") -> str:
    """The passes in the order of the default pipeline, each with its options, defaults and help."""
    entries = [_pass_entry(name) for name in PASSES.discover()]
    if form == "json":
        return json.dumps({"passes": entries, "pipelines": PIPELINES}, indent=1) + "\n"
    return _passes_page(entries) if form == "md" else _passes_text(entries)


def _pass_entry(name: str) -> dict[str, Any]:
    cls = find_pass(name)
    options = []
    for item in dataclasses.fields(cast(Any, cls)):
        limits = {key: value for key in _LIMITS if (value := item.metadata.get(key)) not in (None, ())}
        option = {"name": item.name.replace("_", "-"), "default": item.default, "help": item.metadata.get("help", "")}
        options.append({**option, **limits})
    return {"name": name, "doc": inspect.cleandoc(cls.__doc__ or ""), "options": options}


def _spell(default: Any) -> str:
    return str(default).lower() if isinstance(default, bool) else str(default)


def _limits(option: dict[str, Any]) -> str:
    """What an option may be, in words, or nothing."""
    words = [f"at {key} {option[key]}" for key in ("least", "most") if key in option]
    words += [f"one of {', '.join(option['choices'])}"] if "choices" in option else []
    return f" ({', '.join(words)})" if words else ""


def _passes_text(entries: list[dict[str, Any]]) -> str:
    lines = []
    for entry in entries:
        lines.append(f"{entry['name']}: {first_sentence(entry['doc'])}")
        lines += [f"    {o['name']}={_spell(o['default'])}  {o['help']}{_limits(o)}" for o in entry["options"]]
    lines += [f"-{level} is {text}" for level, text in PIPELINES.items()]
    return "\n".join(lines) + "\n"


def _passes_page(entries: list[dict[str, Any]]) -> str:
    parts = ["# Passes\n", "In the order in which the default pipeline runs them.\n"]
    for entry in entries:
        lines = [f"## `{entry['name']}`\n", entry["doc"], ""]
        lines += [
            f"- `{o['name']}` (default `{_spell(o['default'])}`): {o['help']}{_limits(o)}" for o in entry["options"]
        ]
        parts.append("\n".join(lines) + "\n")
    parts.append("# Pipelines\n")
    parts += [f"- `-{level}`: `{text}`" for level, text in PIPELINES.items()]
    return "\n".join(parts) + "\n"


# ---------------------------------------------------------------- dialects


def dialects(form: str = "text") -> str:
    """The dialects from the highest level to the lowest, each with its ops."""
    names = list(DIALECTS.discover())
    if form == "json":
        entries = {name: [op_entry(cls) for cls in dialect_ops(name).values()] for name in names}
        return json.dumps(entries, indent=1, default=str) + "\n"
    if form == "md":
        return "\n".join(dialect_page(name) for name in names)
    lines = []
    for name in names:
        ops = dialect_ops(name)
        lines.append(f"{name} ({len(ops)} ops)")
        lines += [f"    {signature(cls)}  {first_sentence(cls.__doc__)}" for cls in ops.values()]
    return "\n".join(lines) + "\n"


def op_entry(cls: type[Op]) -> dict[str, Any]:
    """One op for machines."""
    schema = cls.schema()
    return {
        "name": cls.op_name,
        "doc": inspect.cleandoc(cls.__doc__ or ""),
        "operands": [{"name": s.name, "kind": s.kind, "type": s.expected} for s in schema.operands],
        "attributes": [
            {"name": s.name, "kind": s.kind, "required": s.required, "default": s.default, "choices": list(s.choices)}
            for s in schema.attributes.values()
        ],
        "regions": list(schema.regions),
        "effects": sorted(cls.effects),
    }


def signature(cls: type[Op]) -> str:
    """An op's operands and attributes in one line: ``nd.matmul(a, b) {transpose_b}``."""
    schema = cls.schema()
    attributes = ", ".join(schema.attributes)
    return f"{cls.op_name}({schema.signature()})" + (f" {{{attributes}}}" if attributes else "")


def dialect_page(dialect: str) -> str:
    """The reference page of one dialect, in Markdown."""
    load_dialect(dialect)
    package = sys.modules[DIALECTS[dialect]]
    parts = [f"# The `{dialect}` dialect\n", inspect.cleandoc(package.__doc__ or "").strip() + "\n"]
    return "\n".join([*parts, *(op_section(cls) for cls in dialect_ops(dialect).values())])


def op_section(cls: type[Op]) -> str:
    """What one op takes, gives and means, in Markdown."""
    schema = cls.schema()
    lines = [f"## `{cls.op_name}`\n", inspect.cleandoc(cls.__doc__ or ""), ""]
    for spec in schema.operands:
        kind = {"one": "", "optional": ", optional", "variadic": ", any number"}[spec.kind]
        lines.append(f"- operand `{spec.name}`: {spec.expected}{kind}")
    lines += [f"- attribute `{spec.name}`: {attribute_words(spec)}" for spec in schema.attributes.values()]
    lines += [f"- region `{region}`" for region in schema.regions]
    traits = [word for word, holds in (("commutative", cls.is_commutative), ("terminator", cls.is_terminator)) if holds]
    traits += [f"effects: {', '.join(sorted(cls.effects))}"] if cls.effects else []
    if hasattr(cls, "decompose"):
        traits.append("has a decomposition")
    if traits:
        lines.append(f"- {'; '.join(traits)}")
    return "\n".join(lines) + "\n"


def attribute_words(spec: AttributeSpec) -> str:
    """An attribute's kind, choices and default."""
    text = " or ".join(f"`{c!r}`" for c in spec.choices) if spec.choices else spec.kind
    if spec.required:
        return text
    return f"{text}, optional" if spec.default is None else f"{text}, default `{spec.default!r}`"


def first_sentence(docstring: str | None) -> str:
    """The first sentence of a docstring, on one line."""
    text = " ".join((docstring or "").split())
    return text.split(". ")[0].rstrip(".")
