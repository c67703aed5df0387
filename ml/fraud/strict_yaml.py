"""YAML with everything taken out that surprises: what is left is maps, lists, numbers, texts, true and false.

Refused with file, line and key: anchors, aliases, tags, tabs, several documents, keys given twice, empty values, and
plain words that YAML reads as something else than they look like (`no`, `on`, `1:30`, `010`, `.inf`, a date).
"""

import re
from dataclasses import dataclass
from typing import Any

import yaml

from ml.settings import SettingsError

MAX_BYTES = 65_536
MAX_DEPTH = 10
_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,17})\.[0-9]{1,18}")
_KEY = re.compile(r"[a-z][a-z0-9_]{0,60}")
_STR, _MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"
_DEEPER = (
    yaml.BlockSequenceStartToken,
    yaml.BlockMappingStartToken,
    yaml.FlowSequenceStartToken,
    yaml.FlowMappingStartToken,
)
_BACK = (yaml.BlockEndToken, yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken)
_REFUSED_TOKENS = {
    yaml.AnchorToken: "anchors are not allowed; write the value out",
    yaml.AliasToken: "aliases are not allowed; write the value out",
    yaml.TagToken: "tags are not allowed",
    yaml.DirectiveToken: "directives are not allowed",
}


class FileRefused(SettingsError):
    """A file cannot be used. The message names file, line, key and what is allowed, never a value."""

    def __init__(self, name: str, line: int, key: str, problem: str) -> None:
        super().__init__(f"{name}:{line}: {key}: {problem}" if key else f"{name}:{line}: {problem}")


@dataclass(frozen=True)
class Entry:
    """A value of a file, and where it stands.

    Attributes:
        value: A text, number, truth value, a list of entries, or a map of key -> entry.
        key: Its path, such as `rules[2].when`.
        line: From 1.
    """

    value: Any
    file: str
    key: str
    line: int

    def refuse(self, problem: str) -> FileRefused:
        return FileRefused(self.file, self.line, self.key, problem)


def read_strictly(text: str, name: str) -> Entry:
    """The file's map.

    Args:
        text: At most `MAX_BYTES`, nested at most `MAX_DEPTH` deep.
        name: What the file is called in errors.

    Raises:
        FileRefused: It is not such a file.
    """
    if len(text.encode(errors="replace")) > MAX_BYTES:
        raise FileRefused(name, 1, "", f"expected at most {MAX_BYTES} bytes")
    for number, line in enumerate(text.splitlines(), start=1):
        if "\t" in line:
            raise FileRefused(name, number, "", "a tab; indent by spaces")
    try:
        _check_tokens(text, name)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise FileRefused(name, mark.line + 1 if mark else 1, "", f"not YAML: {error.problem or 'malformed'}") from None
    except yaml.YAMLError:
        raise FileRefused(name, 1, "", "not YAML: a sign that may not stand in it") from None
    if not isinstance(node, yaml.MappingNode):
        raise FileRefused(name, 1, "", "expected a map of keys")
    return _entry(node, name, "")


def _check_tokens(text: str, name: str) -> None:
    depth = documents = 0
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        line = token.start_mark.line + 1
        if type(token) in _REFUSED_TOKENS:
            raise FileRefused(name, line, "", _REFUSED_TOKENS[type(token)])
        documents += isinstance(token, yaml.DocumentStartToken)
        depth += isinstance(token, _DEEPER) - isinstance(token, _BACK)
        if documents > 1:
            raise FileRefused(name, line, "", "expected one document")
        if depth > MAX_DEPTH:
            raise FileRefused(name, line, "", f"nested deeper than {MAX_DEPTH}")


def _entry(node: yaml.Node, file: str, key: str) -> Entry:
    line = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        return Entry(_map(node, file, key), file, key, line)
    if isinstance(node, yaml.SequenceNode):
        parts = [_entry(part, file, f"{key}[{position}]") for position, part in enumerate(node.value, start=1)]
        return Entry(parts, file, key, line)
    assert isinstance(node, yaml.ScalarNode), "a node is a map, a list or a scalar"
    return Entry(_scalar(node, file, key), file, key, line)


def _map(node: yaml.MappingNode, file: str, above: str) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        name = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
        if name is None or key_node.tag not in (_STR,) or not _KEY.fullmatch(name):
            raise FileRefused(file, line, above, "expected keys of small letters, digits and _")
        key = f"{above}.{name}" if above else name
        if name in found:
            raise FileRefused(file, line, key, "given twice")
        found[name] = _entry(value_node, file, key)
    return found


def _scalar(node: yaml.ScalarNode, file: str, key: str) -> str | int | float | bool:
    text = str(node.value)
    if node.style is not None:  # quoted, or a block of text
        return text
    if text in ("true", "false"):
        return text == "true"
    if _WHOLE.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text):
        return float(text)
    if node.tag == _STR:
        return text
    line = node.start_mark.line + 1
    if not text or text in ("~", "null", "Null", "NULL"):
        raise FileRefused(file, line, key, "no value; leave the key out, or give one")
    if node.tag.endswith(":bool"):
        raise FileRefused(file, line, key, "expected true or false; a word like this one is quoted when text is meant")
    raise FileRefused(file, line, key, "expected a plain number such as 12 or 0.5; text is quoted")
