"""Lists of column names, kept once under their digest, so that what is kept for each decision needs no names.

Small files beside the serving log, never changed and never removed: a decision that is read back years later finds the
names that it was made by.
"""

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from ml.outcomes import DataFailed
from ml.settings import Settings
from ml.stores.durable import write_durably


class ColumnLists:
    """Name lists by digest."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._digests: dict[tuple[str, ...], str] = {}
        self._names: dict[str, tuple[str, ...]] = {}
        self._places: dict[tuple[str, ...], dict[str, int]] = {}

    @classmethod
    def from_settings(cls, settings: Settings) -> "ColumnLists":
        return cls(settings.shop_dir / "serving" / "columns")

    def keep(self, names: tuple[str, ...]) -> str:
        """The list's digest; on disk when this returns. Whoever keeps the same list writes the same file."""
        known = self._digests.get(names)
        if known is not None:
            return known
        body = json.dumps(names).encode()
        digest = sha256(body).hexdigest()[:16]
        path = self._path(digest)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_durably(path, body)
        self._digests[names], self._names[digest] = digest, names
        return digest

    def named(self, digest: str, values: Sequence[Any]) -> dict[str, Any]:
        """Values by name.

        Raises:
            DataFailed: The list is missing, or is of another length.
        """
        names = self._read(digest)
        if len(names) != len(values):
            raise DataFailed(f"{self._path(digest)}: expected {len(names)} values, found {len(values)}")
        return dict(zip(names, values, strict=True))

    def sparse(self, names: tuple[str, ...], values: Mapping[str, Any]) -> list[Any]:
        """Some of a list's values: digest, places in the list, values. Names that are not in it make a list anew."""
        if not values.keys() <= self._places_in(names).keys():
            names = tuple(values)
        digest = self.keep(names)
        places = self._places_in(names)
        return [digest, [places[name] for name in values], list(values.values())]

    def _places_in(self, names: tuple[str, ...]) -> dict[str, int]:
        places = self._places.get(names)
        if places is None:
            places = self._places[names] = {name: place for place, name in enumerate(names)}
        return places

    def spread(self, digest: str, places: Sequence[int], values: Sequence[Any]) -> dict[str, Any]:
        """What `sparse` kept, by name.

        Raises:
            DataFailed: The list is missing, or shorter than a place in it.
        """
        names = self._read(digest)
        if len(places) != len(values) or max(places, default=-1) >= len(names):
            raise DataFailed(f"{self._path(digest)}: places outside of its {len(names)} names")
        return {names[place]: value for place, value in zip(places, values, strict=True)}

    def _read(self, digest: str) -> tuple[str, ...]:
        names = self._names.get(digest)
        if names is None:
            try:
                names = tuple(json.loads(self._path(digest).read_bytes()))
            except (OSError, ValueError):
                raise DataFailed(f"{self._path(digest)}: a list of column names is missing or damaged") from None
            self._names[digest] = names
        return names

    def _path(self, digest: str) -> Path:
        return self._folder / f"{digest}.json"
