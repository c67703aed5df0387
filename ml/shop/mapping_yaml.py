"""Reading a mapping file as YAML that means what it says.

What YAML 1.1 guesses of unquoted text is not taken over: `NO` stays the country, `12:30` the time, `007` the code.
True, false, whole numbers and decimals are read; everything else is text. Aliases, tags and merge keys are refused.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TypeAlias

import yaml

from ml.settings import SettingsError

Path_: TypeAlias = tuple[str | int, ...]
_LARGEST_BYTES = 1 << 20
_DEEPEST = 12
_WHOLE = re.compile(r"-?(0|[1-9]\d{0,17})")
_DECIMAL = re.compile(r"-?\d{1,18}\.\d{1,18}")
_PLAIN_TAGS = tuple(
    f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "timestamp", "value")
)
_ALL_TAGS = (*_PLAIN_TAGS, "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")


@dataclass
class Document:
    """What a mapping file says, and the line that each part of it stands on."""

    name: str
    content: dict[str, object]
    lines: dict[Path_, int] = field(default_factory=dict)

    def at(self, path: Path_) -> str:
        """`file:line: key.key` of a part; of one that is not there, of what it is missing from."""
        known = path
        while known and known not in self.lines:
            known = known[:-1]
        line = self.lines.get(known, 1)
        spoken = ".".join(str(part) for part in path) or "the file"
        return f"{self.name}:{line}: {spoken}"


def read_document(path: Path, name: str) -> Document:
    """Read the file.

    Raises:
        SettingsError: It cannot be read, or uses more of YAML than a mapping needs.
    """
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise SettingsError(f"{name}: larger than {_LARGEST_BYTES:,} bytes; expected a mapping file")
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise SettingsError(f"{name}: not UTF-8; save the file as UTF-8") from None
    except OSError as error:
        raise SettingsError(f"{name}: cannot be opened ({error.strerror}); SHOPWRIGHT_FILES_MAPPING names it") from None
    try:
        _refuse_references(text, name)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise SettingsError(f"{name}:{mark.line + 1 if mark else 1}: not YAML: {error.problem}") from None
    except yaml.YAMLError:
        raise SettingsError(f"{name}: not YAML") from None
    if not isinstance(node, yaml.MappingNode):
        raise SettingsError(f"{name}:1: expected the keys files and tables")
    document = Document(name, {})
    content = _value(node, (), document)
    assert isinstance(content, dict)
    document.content = content
    return document


def _refuse_references(text: str, name: str) -> None:
    depth = 0
    documents = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise SettingsError(f"{name}:{line}: aliases (& and *) are not allowed; write it out")
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise SettingsError(f"{name}:{line}: a second document (---); expected one")
        if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            depth += 1
            if depth > _DEEPEST:
                raise SettingsError(f"{name}:{line}: nested deeper than a mapping goes")
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            depth -= 1


def _value(node: yaml.Node, path: Path_, document: Document) -> object:
    document.lines.setdefault(path, node.start_mark.line + 1)
    if node.tag not in _ALL_TAGS:
        problem = (
            "merge keys (<<) are not allowed; write it out"
            if node.tag.endswith(":merge")
            else "tags (!) are not allowed"
        )
        raise SettingsError(f"{document.at(path)}: {problem}")
    if isinstance(node, yaml.MappingNode):
        return dict(_pairs(node, path, document))
    if isinstance(node, yaml.SequenceNode):
        return [_value(one, (*path, place), document) for place, one in enumerate(node.value)]
    assert isinstance(node, yaml.ScalarNode), "a node is a mapping, a sequence or a scalar"
    return _scalar(node)


def _pairs(node: yaml.MappingNode, path: Path_, document: Document) -> Iterator[tuple[str, object]]:
    seen = set()
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode) or key_node.tag not in _PLAIN_TAGS:
            refused = "merge keys (<<) are" if key_node.tag.endswith(":merge") else "a key that is no plain text is"
            raise SettingsError(f"{document.name}:{line}: {refused} not allowed")
        key = str(key_node.value)
        if key in seen:
            raise SettingsError(f"{document.name}:{line}: {'.'.join(map(str, (*path, key)))}: is there twice")
        seen.add(key)
        document.lines[(*path, key)] = line
        yield key, _value(value_node, (*path, key), document)


def _scalar(node: yaml.ScalarNode) -> object:
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
