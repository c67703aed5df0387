"""What a mapping file may say: how a shop's files become the tables of the contract, without code.

`read_mapping` reads the file and checks all of it against the contract before anything is read from the shop, so
that a wrong word is told by file, line and key, together with the words that are allowed. docs/your_shop.md
describes the file for those who write one.
"""

import codecs
import re
from collections.abc import Iterator
from collections.abc import Mapping as Mapping_
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeAlias
from zoneinfo import available_timezones

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from ml.settings import SettingsError
from ml.shop.delimited import UTF8
from ml.shop.mapping_yaml import Document, Path_, read_document

Scalar: TypeAlias = bool | int | Decimal | str
Take: TypeAlias = Literal["first", "last", "min", "max", "sum"]
_SHOWN_PROBLEMS = 10
POSITION = "#"
"""In a template: the position among rows that are alike in the template's columns."""
_PART = re.compile(r"\{([^{}]+)\}")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True)
    one_of: ClassVar[tuple[str, ...]] = ()
    """Keys of which exactly one is given."""

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, given: object) -> object:
        if not isinstance(given, dict):
            raise PydanticCustomError("not_keys", "expected keys: {known}", {"known": ", ".join(cls._keys())})
        for key in given:
            if key not in cls._keys():
                raise PydanticCustomError(
                    "unknown_key", "unknown key; allowed are {known}", {"known": ", ".join(cls._keys()), "key": key}
                )
        if cls.one_of and sum(key in given for key in cls.one_of) != 1:
            raise PydanticCustomError("one_of", "expected exactly one of {known}", {"known": ", ".join(cls.one_of)})
        return given

    @classmethod
    def _keys(cls) -> list[str]:
        return [field.alias or name for name, field in cls.model_fields.items()]


def _as_text(value: object) -> object:
    """A column may be called 2011, a value may be 7: in the file's text it is the same."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _known_zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError("expected an IANA time zone such as Europe/London")
    return name


def _known_encoding(name: str) -> str:
    try:
        known = codecs.lookup(name).name
    except LookupError:
        raise ValueError("expected an encoding such as utf-8, latin-1 or cp1252") from None
    return UTF8 if known == "utf-8" else known


def _good_pattern(pattern: str) -> str:
    try:
        pc.match_substring_regex(pa.array([""]), pattern)  # RE2, as DuckDB has it
    except pa.ArrowInvalid:
        raise ValueError("not a regular expression (as RE2 has them)") from None
    return pattern


def _good_format(text: str) -> str:
    if "%" not in text:
        raise ValueError("expected a format such as %d/%m/%Y %H:%M")
    return text


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


Text: TypeAlias = Annotated[str, BeforeValidator(_as_text), Field(min_length=1)]
Sign: TypeAlias = Annotated[str, Field(min_length=1, max_length=1)]
Pattern: TypeAlias = Annotated[str, BeforeValidator(_as_text), AfterValidator(_good_pattern)]
Format: TypeAlias = Annotated[str, AfterValidator(_good_format)]
Zone: TypeAlias = Annotated[str, AfterValidator(_known_zone)]
Formats: TypeAlias = Annotated[list[Format], BeforeValidator(_as_list), Field(min_length=1)]
Number: TypeAlias = int | Decimal


class ZoneByValue(_Strict):
    """The zone of a row by the value of another column."""

    column: Text
    values: dict[str, Zone]
    otherwise: Zone | None = None


def _zone(value: object) -> object:
    return value if isinstance(value, dict) else {"column": "-", "values": {}, "otherwise": value}


class Condition(_Strict):
    """What a column's value is asked. An empty value equals nothing, is in no list and starts with nothing."""

    one_of: ClassVar[tuple[str, ...]] = (
        *("equals", "not_equals", "in", "not_in", "starts_with", "not_starts_with", "matches", "not_matches"),
        *("above", "at_least", "below", "at_most", "is_empty"),
    )
    column: Text
    equals: Text | None = None
    not_equals: Text | None = None
    is_in: list[Text] | None = Field(None, alias="in")
    not_in: list[Text] | None = None
    starts_with: Text | None = None
    not_starts_with: Text | None = None
    matches: Pattern | None = None
    not_matches: Pattern | None = None
    above: Number | None = None
    at_least: Number | None = None
    below: Number | None = None
    at_most: Number | None = None
    is_empty: bool | None = None

    @property
    def asked(self) -> tuple[str, Any]:
        """The word and what it is held against."""
        return next(
            (word, value) for word in self.one_of if (value := getattr(self, _FIELDS.get(word, word))) is not None
        )


_FIELDS = {"in": "is_in"}


class ColumnRule(_Strict):
    """How one contract column is made."""

    one_of: ClassVar[tuple[str, ...]] = ("from", "constant", "product", "template", "where", "delete_where")
    source: Text | None = Field(None, alias="from")
    constant: Scalar | None = None
    product: list[Text] | None = Field(None, min_length=2, max_length=4)
    template: Text | None = None
    where: Condition | None = None
    delete_where: Condition | None = None
    values: dict[str, Scalar] | None = None
    otherwise: Scalar | None = None
    remove: Pattern | None = None
    format: Formats | None = None
    zone: Annotated[ZoneByValue, BeforeValidator(_zone)] | None = None
    factor: Number | None = None
    take: Take | None = None

    @cached_property
    def parts(self) -> list[str]:
        """Columns of a template, in order, `#` included."""
        return _PART.findall(self.template or "")

    def reads(self) -> Iterator[str]:
        """Columns of the file that the rule needs."""
        if self.source is not None:
            yield self.source
        yield from self.product or ()
        yield from (part for part in self.parts if part != POSITION)
        for condition in (self.where, self.delete_where):
            if condition is not None:
                yield condition.column
        if self.zone is not None and self.zone.values:
            yield self.zone.column


def _column(value: object) -> object:
    return value if isinstance(value, dict) else {"from": value}


class FileTime(_Strict):
    """When a row of the file came to be: what cuts the file into days."""

    source: Text = Field(alias="from")
    format: Formats | None = None
    zone: Annotated[ZoneByValue, BeforeValidator(_zone)] | None = None

    def as_rule(self) -> ColumnRule:
        return ColumnRule.model_construct(source=self.source, format=self.format, zone=self.zone)


class FileRule(_Strict):
    """A file, or files of one form.

    Attributes:
        path: Within the shop's folder; `*` stands for any text, `{day}` for the day on which a file arrived.
        decimal, thousands: How the file writes its numbers.
    """

    path: Text
    delimiter: Sign = ","
    decimal: Sign = "."
    thousands: Sign | None = None
    encoding: Annotated[str, AfterValidator(_known_encoding)] = UTF8
    time: FileTime | None = None


class TableRule(_Strict):
    """How one contract table is made of a file."""

    file: Text
    columns: dict[str, Annotated[ColumnRule, BeforeValidator(_column)]]
    keep: dict[str, Condition] = {}
    one_row_per: Annotated[list[Text], BeforeValidator(_as_list)] | None = None


class Mapping(_Strict):
    """A whole mapping file."""

    files: dict[str, FileRule]
    tables: dict[str, TableRule]

    def usual_zone(self) -> str | None:
        """The zone of rows about which nothing else is said; of the first file that names one."""
        rules = [file.time.as_rule() for file in self.files.values() if file.time]
        rules += [column for table in self.tables.values() for column in table.columns.values()]
        return next(
            (rule.zone.otherwise for rule in rules if rule.zone and rule.zone.otherwise not in (None, "UTC")), None
        )

    def columns_of(self, table: str) -> list[str]:
        """Columns of the table's file that its rules need, each once."""
        rule = self.tables[table]
        time = self.files[rule.file].time
        found = [name for column in rule.columns.values() for name in column.reads()]
        found += [condition.column for condition in rule.keep.values()]
        found += rule.one_row_per or []
        found += list(time.as_rule().reads()) if time else []
        return list(dict.fromkeys(found))


def read_mapping(path: Path, name: str) -> Mapping:
    """Read and check a mapping file.

    Args:
        name: What messages call the file.

    Raises:
        SettingsError: Something in it is not allowed; told by file, line and key, all problems at once.
    """
    from ml.shop.mapping_checks import problems_of  # it needs the models above

    document = read_document(path, name)
    try:
        mapping = Mapping.model_validate(document.content)
    except ValidationError as error:
        raise SettingsError(_told(dict.fromkeys(_problems(document, error)))) from None
    found = [f"{document.at(place)}: {problem}" for place, problem in problems_of(mapping)]
    if found:
        raise SettingsError(_told(found))
    return mapping


def _told(problems: Mapping_[str, Any] | list[str]) -> str:
    shown = list(problems)
    more = f"\n... and {len(shown) - _SHOWN_PROBLEMS} more" if len(shown) > _SHOWN_PROBLEMS else ""
    return "\n".join(shown[:_SHOWN_PROBLEMS]) + more


_WORDS = {
    "missing": "is missing",
    "string_type": "expected text",
    "bool_type": "expected true or false",
    "list_type": "expected a list",
    "dict_type": "expected keys and values",
    "string_too_short": "is empty",
    "string_too_long": "expected a single sign",
    "too_short": "expected more entries",
    "too_long": "expected fewer entries",
}


def _problems(document: Document, error: ValidationError) -> Iterator[str]:
    for problem in error.errors(include_url=False, include_input=False):
        place = _place(problem["loc"], document)
        if problem["type"] == "unknown_key":
            place = (*place, problem["ctx"]["key"])
        said = _WORDS.get(problem["type"], problem["msg"].removeprefix("Value error, "))
        if "valid integer" in said or problem["loc"][-1:] in (("decimal",), ("is-instance[Decimal]",)):
            said = "expected a number"
        yield f"{document.at(place)}: {said}"


def _place(loc: tuple[str | int, ...], document: Document) -> Path_:
    """Pydantic's location without the names of the types that it tried, which are no keys of the file."""
    place: Path_ = ()
    for number, part in enumerate(loc):
        is_last = number == len(loc) - 1
        if (*place, part) in document.lines or (is_last and _is_key(part)):
            place = (*place, part)
    return place


def _is_key(part: str | int) -> bool:
    return (
        isinstance(part, str)
        and re.fullmatch(r"[a-z_]+", part) is not None
        and part not in ("bool", "int", "str", "decimal")
    )
