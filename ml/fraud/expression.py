"""The language of rules: arithmetic, comparisons and logic over the fields of an order, and nothing else.

    expression := and ("or" and)*            and     := not ("and" not)*
    not        := "not" not | comparison     sum     := product (("+" | "-") product)*
    comparison := sum [("==" | "!=" | "<" | "<=" | ">" | ">=") sum | ["not"] "in" "[" literal, ... "]"
                       | "is" ["not"] "missing"]
    product    := unary (("*" | "/") unary)*
    unary      := "-" unary | number | "text" | 'text' | true | false | field | "(" expression ")"

Fields are the names that the caller knows, each of one kind (number, text, truth); kinds are checked when the text is
read. What is missing stays missing: arithmetic and comparisons with it are missing, `and`, `or` and `not` follow SQL's
three values, and a rule matches only where its expression is true. A quotient by zero and an overflow are missing.

Its own tokenizer and parser: no text is ever given to Python to run. Values are computed in `expression_values.py`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NoReturn

from ml.fraud.expression_nodes import (
    Arithmetic,
    Compared,
    Field,
    Kind,
    Literally,
    Logic,
    Missing,
    Negated,
    Node,
    Not,
    Within,
)

MAX_LENGTH = 2000
MAX_DEPTH = 24
MAX_NODES = 200
_MAX_DIGITS = 30
_MAX_TEXT = 200
_TOKEN = re.compile(
    r"(?P<space>[ \r\n]+)"
    r"|(?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)"
    r"|(?P<text>\"[^\"\r\n]*\"|'[^'\r\n]*')"
    r"|(?P<word>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<sign>==|!=|<=|>=|[<>+\-*/(),\[\]])",
    re.ASCII,
)
_WORDS = frozenset({"and", "or", "not", "in", "is", "missing", "true", "false"})
_COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})
_END = "the end"


class ExpressionRefused(ValueError):
    """The text is no expression. The message names the position (from 1) and what is allowed, never a literal."""


@dataclass(frozen=True, eq=False)
class Expression:
    """An expression that was read: its text, its tree, and the fields that it asks for."""

    text: str
    root: Node
    fields: tuple[str, ...]


def read_expression(text: str, known: Mapping[str, Kind]) -> Expression:
    """Read a condition.

    Args:
        text: At most `MAX_LENGTH` characters, nested at most `MAX_DEPTH` deep.
        known: Field -> its kind.

    Raises:
        ExpressionRefused: It is too long or too deep, names an unknown field, mixes kinds, or is no condition.
    """
    if len(text) > MAX_LENGTH:
        raise ExpressionRefused(f"longer than {MAX_LENGTH} characters")
    reader = _Reader(_tokens(text), known)
    root = reader.either()
    if reader.word != _END:
        reader.refuse("expected an operator or the end")
    if root.kind != "truth":
        raise ExpressionRefused(f"expected a condition, which is true or false; this is a {root.kind}")
    return Expression(text, root, tuple(sorted(reader.fields)))


@dataclass(frozen=True)
class _Token:
    form: str  # number, text, word, sign, end
    text: str
    at: int


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            hint = (
                "; equality is =="
                if text[at] == "="
                else "; a text ends with the quote it began with" * (text[at] in "\"'")
            )
            raise ExpressionRefused(f"position {at + 1}: this sign is not part of the language{hint}")
        form = str(match.lastgroup)
        if form != "space":
            if (
                found
                and found[-1].form in ("number", "word")
                and form in ("number", "word")
                and found[-1].at + len(found[-1].text) == at
            ):
                raise ExpressionRefused(f"position {at + 1}: a number and a name stand together without a space")
            found.append(_Token(form, match.group(), at))
        at = match.end()
    return [*found, _Token("end", _END, len(text))]


class _Reader:
    """Recursive descent over the tokens; one method for each level of the grammar."""

    def __init__(self, tokens: list[_Token], known: Mapping[str, Kind]) -> None:
        self._tokens = tokens
        self._next = 0
        self._known = known
        self._depth = 0
        self._nodes = 0
        self.fields: set[str] = set()

    @property
    def token(self) -> _Token:
        return self._tokens[self._next]

    @property
    def word(self) -> str:
        """The next token where it is a sign or a word of the language; a text never is one."""
        return self.token.text if self.token.form in ("word", "sign", "end") else ""

    def refuse(self, problem: str, at: int | None = None) -> NoReturn:
        raise ExpressionRefused(f"position {(self.token.at if at is None else at) + 1}: {problem}")

    def either(self) -> Node:
        return self._logic("or", self._both)

    def _both(self) -> Node:
        return self._logic("and", self._not)

    def _logic(self, word: str, part: Callable[[], Node]) -> Node:
        begin = self.token.at
        parts: list[Node] = [part()]
        while self.word == word:
            self._demand(parts[-1], "truth", begin, f"`{word}` joins conditions")
            self._take()
            begin = self.token.at
            parts.append(part())
        if len(parts) == 1:
            return parts[0]
        self._demand(parts[-1], "truth", begin, f"`{word}` joins conditions")
        return self._counted(Logic(word, tuple(parts)))

    def _not(self) -> Node:
        if self.word != "not":
            return self._comparison()
        self._take()
        begin = self.token.at
        with_not = self._deeper(self._not)
        self._demand(with_not, "truth", begin, "`not` turns a condition round")
        return self._counted(Not(with_not))

    def _comparison(self) -> Node:
        begin = self.token.at
        left = self._sum()
        if self.word in _COMPARISONS:
            left = self._compared(left, begin)
        elif self.word == "is":
            left = self._missing(left)
        elif self.word in ("in", "not"):
            left = self._within(left)
        if self.word in _COMPARISONS or self.word in ("is", "in"):
            self.refuse("comparisons are not chained; join them by `and`")
        return left

    def _compared(self, left: Node, begin: int) -> Node:
        sign, at = self.word, self.token.at
        self._take()
        right = self._sum()
        if left.kind != right.kind:
            self.refuse(f"a {left.kind} is compared with a {right.kind}", begin)
        if sign not in ("==", "!=") and left.kind != "number":
            self.refuse(f"only numbers have an order; a {left.kind} is compared by == or !=", at)
        return self._counted(Compared(sign, left, right))

    def _missing(self, left: Node) -> Node:
        self._take()
        negated = self._took("not")
        if not self._took("missing"):
            self.refuse("expected `missing` after `is`")
        asked = self._counted(Missing(left))
        return self._counted(Not(asked)) if negated else asked

    def _within(self, left: Node) -> Node:
        negated = self._took("not")
        if not self._took("in"):
            self.refuse("expected `in` after `not`")
        if not self._took("["):
            self.refuse("expected a list such as [1, 2] after `in`")
        values = [self._listed(left.kind)]
        while self._took(","):
            values.append(self._listed(left.kind))
        if not self._took("]"):
            self.refuse("expected `,` or `]`")
        asked = self._counted(Within(left, tuple(values)))
        return self._counted(Not(asked)) if negated else asked

    def _listed(self, kind: Kind) -> float | str | bool:
        at, is_negative = self.token.at, self._took("-")
        value = self._literal()
        if value is None:
            self.refuse("expected a number, a text, true or false")
        if value.kind != kind or (is_negative and kind != "number"):
            self.refuse(f"expected a {kind} in the list", at)
        return -float(value.value) if is_negative else value.value

    def _sum(self) -> Node:
        return self._arithmetic(("+", "-"), self._product)

    def _product(self) -> Node:
        return self._arithmetic(("*", "/"), self._unary)

    def _arithmetic(self, signs: tuple[str, ...], part: Callable[[], Node]) -> Node:
        begin = self.token.at
        left: Node = part()
        while self.word in signs:
            sign = self.word
            self._demand(left, "number", begin, f"`{sign}` is for numbers")
            self._take()
            begin = self.token.at
            right: Node = part()
            self._demand(right, "number", begin, f"`{sign}` is for numbers")
            left = self._counted(Arithmetic(sign, left, right))
        return left

    def _unary(self) -> Node:
        if self._took("-"):
            begin = self.token.at
            of = self._deeper(self._unary)
            self._demand(of, "number", begin, "`-` is for numbers")
            return self._counted(Negated(of))
        if self._took("("):
            inner = self._deeper(self.either)
            if not self._took(")"):
                self.refuse("expected `)`")
            return inner
        literal = self._literal()
        return literal if literal is not None else self._field()

    def _literal(self) -> Literally | None:
        token = self.token
        if token.form == "number":
            value = float(token.text) if len(token.text) <= _MAX_DIGITS else float("inf")
            if value == float("inf"):
                self.refuse(f"expected a number of at most {_MAX_DIGITS} signs within the range of floating point")
            literal = Literally(value, "number")
        elif token.form == "text":
            if len(token.text) - 2 > _MAX_TEXT:
                self.refuse(f"expected a text of at most {_MAX_TEXT} characters")
            literal = Literally(token.text[1:-1], "text")
        elif token.form == "word" and token.text in ("true", "false"):
            literal = Literally(token.text == "true", "truth")
        else:
            return None
        self._take()
        self._counted(literal)
        return literal

    def _field(self) -> Node:
        token = self.token
        if token.form != "word" or token.text in _WORDS:
            self.refuse("expected a field, a number, a text or `(`")
        if token.text not in self._known:
            self.refuse(f"unknown field {token.text}; `shopwright rules fields` lists those that are known")
        self._take()
        self.fields.add(token.text)
        return self._counted(Field(token.text, self._known[token.text]))

    def _deeper(self, part: Callable[[], Node]) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self.refuse(f"nested deeper than {MAX_DEPTH}")
        node: Node = part()
        self._depth -= 1
        return node

    def _counted(self, node: Node) -> Node:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            self.refuse(f"more than {MAX_NODES} parts")
        return node

    def _demand(self, node: Node, kind: Kind, at: int, rule: str) -> None:
        if node.kind != kind:
            self.refuse(f"{rule}; this is a {node.kind}", at)

    def _take(self) -> None:
        self._next += 1

    def _took(self, word: str) -> bool:
        if self.word != word:
            return False
        self._take()
        return True
