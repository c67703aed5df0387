"""YAML with everything taken out that surprises: what is left is maps, lists, numbers, texts, true and false.

Refused with file, line and key: anchors, aliases, merge keys, tags, directives, several documents, keys given twice.
Plain words that YAML 1.1 reads as something else than they look like (`no`, `on`, `1:30`, `010`, `.inf`, a date, no
value at all) are never read so: they are texts or refused, as the file's reader chooses.
"""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import yaml

from ml.settings import SettingsError

MAX_DEPTH = 12
_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,17})\.[0-9]{1,18}")
_STR, _MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"


class FileRefused(SettingsError):
    """A file cannot be used. The message names file, line, key and what is allowed, never a value."""

    def __init__(self, name: str, line: int, key: str, problem: str) -> None:
        super().__init__(f"{name}:{line}: {key}: {problem}" if key else f"{name}:{line}: {problem}")


@dataclass(frozen=True)
class Entry:
    """A value of a file, and where it stands.

    Attributes:
        value: A text, whole number, decimal, truth value, a list of entries, or a map of key -> entry.
        key: Its path, such as `rules[2].when`.
        line: From 1; of its key where it has one.
    """

    value: Any
    file: str
    key: str
    line: int

    def refuse(self, problem: str) -> FileRefused:
        return FileRefused(self.file, self.line, self.key, problem)


def read_strictly(text: str, name: str, *, words_are_text: bool = False) -> Entry:
    """What the file holds: usually a map, which is for the caller to check; an empty file is an empty text.

    Args:
        text: Nested at most `MAX_DEPTH` deep. Its length is the caller's to limit.
        name: What the file is called in errors.
        words_are_text: Take the plain words that YAML would guess about as texts, instead of refusing them.

    Raises:
        FileRefused: It is not such a file.
    """
    try:
        _check_events(text, name)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = error.problem or "malformed"
        told = "a tab; indent by spaces" if "'\\t'" in problem else f"not YAML: {problem}"
        raise FileRefused(name, mark.line + 1 if mark else 1, "", told) from None
    except yaml.YAMLError:
        raise FileRefused(name, 1, "", "not YAML: a sign that may not stand in it") from None
    if node is None:
        return Entry("", name, "", 1)
    return _Reader(name, words_are_text).entry(node, "", node.start_mark.line + 1)


def _check_events(text: str, name: str) -> None:
    """Before anything is built: aliases could make a short file huge, and depth could end the process."""
    depth = documents = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        documents += isinstance(event, yaml.DocumentStartEvent)
        problem = _refused(event)
        if documents > 1:
            problem = "expected one document"
        if depth > MAX_DEPTH:
            problem = f"nested deeper than {MAX_DEPTH}"
        if problem is not None:
            mark = event.start_mark
            raise FileRefused(name, mark.line + 1 if mark else 1, "", problem)


def _refused(event: yaml.Event) -> str | None:
    if isinstance(event, yaml.AliasEvent):
        return "aliases (*) are not allowed; write the value out"
    if isinstance(event, yaml.DocumentStartEvent):
        return "directives (%) are not allowed" if event.version or event.tags else None
    if getattr(event, "anchor", None) is not None:
        return "anchors (&) are not allowed; write the value out"
    return "tags (!) are not allowed" if getattr(event, "tag", None) is not None else None


@dataclass(frozen=True)
class _Reader:
    file: str
    words_are_text: bool

    def entry(self, node: yaml.Node, key: str, line: int) -> Entry:
        if isinstance(node, yaml.MappingNode):
            return Entry(self._map(node, key), self.file, key, line)
        if isinstance(node, yaml.SequenceNode):
            parts = [
                self.entry(part, f"{key}[{position}]", part.start_mark.line + 1)
                for position, part in enumerate(node.value, start=1)
            ]
            return Entry(parts, self.file, key, line)
        assert isinstance(node, yaml.ScalarNode), "a node is a map, a list or a scalar"
        entry = Entry(_value(node), self.file, key, line)
        if node.style is None and node.tag != _STR and isinstance(entry.value, str) and not self.words_are_text:
            raise entry.refuse(_instead_of_guess(node))
        return entry

    def _map(self, node: yaml.MappingNode, above: str) -> dict[str, Entry]:
        found: dict[str, Entry] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise FileRefused(self.file, line, above, "expected a plain text for a key")
            if key_node.tag == _MERGE:
                raise FileRefused(self.file, line, above, "merge keys (<<) are not allowed; write it out")
            name = str(key_node.value)
            key = f"{above}.{name}" if above else name
            if name in found:
                raise FileRefused(self.file, line, key, "given twice")
            found[name] = self.entry(value_node, key, line)
        return found


def _value(node: yaml.ScalarNode) -> str | int | Decimal | bool:
    text = str(node.value)
    if node.style is not None:  # quoted, or a block of text
        return text
    if text in ("true", "false"):
        return text == "true"
    if _WHOLE.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text):
        return Decimal(text)
    return text


def _instead_of_guess(node: yaml.ScalarNode) -> str:
    if node.tag.endswith(":null"):
        return "no value; leave the key out, or give one"
    if node.tag.endswith(":bool"):
        return "expected true or false; a word like this one is quoted when text is meant"
    return "expected a plain number such as 12 or 0.5; text is quoted"
