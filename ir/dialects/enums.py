"""Attributes that upstream spells as words of a dialect: ``#arith.fastmath<reassoc>``, ``#gpu<dim x>``.

They are kept as text.  An op names them in `words`, takes plain words for them from Python (``gpu.thread_id("x")``) and
refuses words that do not exist.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from dlir.ir.attributes import Attribute, OpaqueAttr
from dlir.ir.errors import DlirError, InferError, did_you_mean
from dlir.ir.op import Op


@dataclass(frozen=True, slots=True)
class Words:
    """The spelling of one kind of attribute: `prefix` + words + ``>``."""

    prefix: str
    allowed: tuple[str, ...]
    #: Several words may stand there, separated by commas.
    many: bool = False
    #: What LLVM 24 writes in place of `prefix`; it is read, and kept as it is.
    newer: str = ""

    def encode(self, text: str) -> OpaqueAttr:
        """The attribute for a word (or for words separated by commas); InferError for an unknown one."""
        words = self._split(text)
        for word in words:
            if word not in self.allowed:
                listed = ", ".join(self.allowed)
                raise InferError(f"takes one of {listed}, not '{word}'", hint=did_you_mean(word, self.allowed))
        return OpaqueAttr(self.prefix + ",".join(words) + ">")

    def decode(self, attribute: Attribute) -> tuple[str, ...] | None:
        """The words of `attribute`; None if it is not such an attribute."""
        text = str(attribute)
        prefix = self.newer if self.newer and text.startswith(self.newer) else self.prefix
        if not isinstance(attribute, OpaqueAttr) or not text.startswith(prefix) or not text.endswith(">"):
            return None
        words = self._split(text[len(prefix) : -1])
        return words if words and all(word in self.allowed for word in words) else None

    def _split(self, text: str) -> tuple[str, ...]:
        return tuple(word.strip() for word in text.split(",")) if self.many else (text.strip(),)


class WordOp(Op):
    """Base of ops with such attributes."""

    __slots__ = ()
    words: ClassVar[dict[str, Words]] = {}

    @classmethod
    def create(cls, *operands: Any, **keywords: Any) -> Any:
        """As `Op.create`, with words given as strings."""
        for name, words in cls.words.items():
            given = keywords.get(name)
            if isinstance(given, str):
                try:
                    keywords[name] = words.encode(given)
                except InferError as error:
                    message = f"'{cls.op_name}' {name} {error.message}"
                    raise DlirError(message, hint=error.diagnostics[0].hint) from None
        return super().create(*operands, **keywords)

    def word(self, name: str) -> str | None:
        """The word that attribute `name` holds (its first), or None if it is absent."""
        found = self.word_list(name)
        return found[0] if found else None

    def word_list(self, name: str) -> tuple[str, ...]:
        """All words that attribute `name` holds; none if it is absent."""
        attribute = self.attributes.get(name)
        return () if attribute is None else self.words[name].decode(attribute) or ()

    def verify(self) -> None:
        for name, words in self.words.items():
            attribute = self.attributes.get(name)
            if attribute is not None and words.decode(attribute) is None:
                listed = ", ".join(words.allowed)
                raise DlirError(f"'{name}' must be {words.prefix}...> with one of {listed}", self.location)


FASTMATH = Words(
    "#arith.fastmath<", ("none", "reassoc", "nnan", "ninf", "nsz", "arcp", "contract", "afn", "fast"), many=True
)
OVERFLOW = Words("#arith.overflow<", ("none", "nsw", "nuw"), many=True)


def fastmath(*flags: str) -> OpaqueAttr:
    """``#arith.fastmath<...>`` with these flags: reassoc, nnan, ninf, nsz, arcp, contract, afn, or fast for all."""
    return FASTMATH.encode(",".join(flags))
