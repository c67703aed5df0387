"""The tree of an expression of the rules' language. Each node is of one kind: a number, a text or a truth."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["number", "text", "truth"]


@dataclass(frozen=True)
class Literally:
    value: float | str | bool
    kind: Kind


@dataclass(frozen=True)
class Field:
    name: str
    kind: Kind


@dataclass(frozen=True)
class Negated:
    of: "Node"
    kind: Kind = "number"


@dataclass(frozen=True)
class Arithmetic:
    sign: str
    left: "Node"
    right: "Node"
    kind: Kind = "number"


@dataclass(frozen=True)
class Compared:
    sign: str
    left: "Node"
    right: "Node"
    kind: Kind = "truth"


@dataclass(frozen=True)
class Within:
    of: "Node"
    values: tuple[float | str | bool, ...]
    kind: Kind = "truth"


@dataclass(frozen=True)
class Missing:
    of: "Node"
    kind: Kind = "truth"


@dataclass(frozen=True)
class Not:
    of: "Node"
    kind: Kind = "truth"


@dataclass(frozen=True)
class Logic:
    """`and` or `or` of at least two parts."""

    word: str
    parts: tuple["Node", ...]
    kind: Kind = "truth"


Node = Literally | Field | Negated | Arithmetic | Compared | Within | Missing | Not | Logic
