"""Reading a mapping file: its values, and the line that each part of it stands on.

What YAML 1.1 guesses of unquoted text is not taken over: `NO` stays the country, `12:30` the time, `007` the code.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from ml.settings import SettingsError
from ml.strict_yaml import Entry, read_strictly

Path_: TypeAlias = tuple[str | int, ...]
_LARGEST_BYTES = 1 << 20


@dataclass
class Document:
    """What a mapping file says, and the line that each part of it stands on."""

    name: str
    content: object
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
    document = Document(name, None)
    document.content = _content(read_strictly(text, name, words_are_text=True), (), document.lines)
    return document


def _content(entry: Entry, path: Path_, lines: dict[Path_, int]) -> object:
    """The entry without its places, which are noted in `lines`."""
    lines[path] = entry.line
    if isinstance(entry.value, dict):
        return {key: _content(part, (*path, key), lines) for key, part in entry.value.items()}
    if isinstance(entry.value, list):
        return [_content(part, (*path, place), lines) for place, part in enumerate(entry.value)]
    return entry.value
