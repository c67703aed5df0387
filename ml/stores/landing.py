"""Landed batches: what a source handed over, as it was, never changed afterwards.

Layout: `<table>/<batch id>/{rows.parquet, unparsed.parquet, manifest.json}`. A batch is named by its days and
its content, so that landing the same days and content again changes nothing, and different content for the
same days is another batch. A folder appears whole (written beside, synced, renamed) or not at all.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from ml.outcomes import DataFailed
from ml.settings import wall_clock
from ml.shop.contract import CONTRACT, CONTRACT_VERSION
from ml.shop.contract.table import TableKind
from ml.shop.delivery import UNPARSED_SCHEMA, Delivery
from ml.stores.durable import exclusive_lock, sha256_file, sync_file, sync_folder

_ROWS = "rows.parquet"
_UNPARSED = "unparsed.parquet"
_MANIFEST = "manifest.json"
_UNFINISHED = ".landing-"
_DIGEST_LENGTH = 8


@dataclass(frozen=True)
class Batch:
    """The manifest of one landed batch.

    Attributes:
        last_day: Last of the days that the batch covers: the batch day.
        rows: Rows handed over, those that could not be split into columns included.
        files: File name -> {"sha256", "rows"}; empty when the batch repeats another.
        schema: Column name -> Arrow type, as delivered.
        same_as: The batch of an entity table whose content this one repeats.
        readmits: The batch whose quarantined rows are offered again in this one; None for a delivery by the source.
        offer: How they are offered: the entry's rule, what was done, by whom and why.
        left_out: Filter of the source's mapping -> rows of the source that it left out; they are no rows of the batch.
    """

    id: str
    table: str
    first_day: date
    last_day: date
    source: str
    format: Literal["typed", "text"]
    rows: int
    unparsed: int
    files: dict[str, dict[str, Any]]
    schema: dict[str, str]
    landed_at: datetime
    shop_id: str
    contract_version: int
    same_as: str | None = None
    readmits: str | None = None
    offer: dict[str, str] | None = None
    left_out: dict[str, int] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        return self.id.rsplit(".", 1)[1]


class Landing:
    """The landed batches of one shop.

    Args:
        root: The folder `landing` of the shop's state folder; made on the first write.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._verified: set[Path] = set()

    def land(
        self,
        delivery: Delivery,
        first_day: date,
        last_day: date,
        source: str,
        *,
        readmits: str | None = None,
        offer: dict[str, str] | None = None,
    ) -> Batch:
        """Make a delivery for the days [first_day, last_day] a batch.

        The same content for the same days returns the batch there is, and mends its files where they were damaged.

        Args:
            readmits: The batch whose quarantined rows are offered again. Such a batch is no delivery of the source.
            offer: See `Batch`.
        """
        folder = self.root / delivery.table
        folder.mkdir(parents=True, exist_ok=True)
        with exclusive_lock(folder / ".lock"):
            _remove_unfinished(folder)
            unfinished = Path(tempfile.mkdtemp(dir=folder, prefix=_UNFINISHED))
            try:
                return self._land(unfinished, delivery, first_day, last_day, source, readmits, offer)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)

    def _land(
        self,
        unfinished: Path,
        delivery: Delivery,
        first_day: date,
        last_day: date,
        source: str,
        readmits: str | None,
        offer: dict[str, str] | None,
    ) -> Batch:
        files = _write_files(unfinished, delivery)
        days = (last_day - first_day).days + 1
        batch = Batch(
            id=f"{last_day}.{days}d.{_digest(files)}",
            table=delivery.table,
            first_day=first_day,
            last_day=last_day,
            source=source,
            format=delivery.format,
            rows=delivery.count_rows,
            unparsed=delivery.unparsed.num_rows if delivery.unparsed is not None else 0,
            files=files,
            schema={column.name: str(column.type) for column in delivery.rows.schema},
            landed_at=wall_clock(),
            shop_id=self.root.parent.name,
            contract_version=CONTRACT_VERSION,
            readmits=readmits,
            offer=offer,
            left_out=dict(delivery.left_out),
        )
        target = self._folder_of(batch)
        if target.exists():
            return self._mended(target, unfinished)
        if CONTRACT[batch.table].kind is TableKind.ENTITY and readmits is None:
            repeated = self._repeated_by(batch)
            if repeated is not None:
                for name in files:
                    (unfinished / name).unlink()
                batch = replace(batch, files={}, same_as=repeated.id)
        manifest = unfinished / _MANIFEST
        manifest.write_text(json.dumps(asdict(batch), default=str, indent=1, sort_keys=True))
        for name in (*batch.files, _MANIFEST):
            sync_file(unfinished / name)
        sync_folder(unfinished)
        unfinished.chmod(0o755)
        unfinished.rename(target)
        sync_folder(target.parent)
        return batch

    def _mended(self, folder: Path, fresh: Path) -> Batch:
        """The batch in a folder, after its damaged files were replaced by freshly written ones of equal sha256."""
        batch = self._read_manifest(folder)
        for name, entry in batch.files.items():
            if _problem_of(folder / name, entry["sha256"]) is not None and sha256_file(fresh / name) == entry["sha256"]:
                sync_file(fresh / name)
                (fresh / name).replace(folder / name)
                sync_folder(folder)
        if batch.readmits is not None:
            return batch
        same_days = [
            other for other in self.deliveries(batch.table, on=batch.last_day) if other.first_day == batch.first_day
        ]
        if max(same_days, key=self._delivery_order).id != batch.id:
            # What was delivered last is what is judged: also a file that was put back as it had been before.
            (folder / _MANIFEST).touch()
        return batch

    def _repeated_by(self, batch: Batch) -> Batch | None:
        """The batch with files that this one repeats, if the batch of the days just before has the same content.

        Only adjoining days can repeat each other: between others, a batch of another content may still arrive.
        """
        before = self.deliveries(batch.table, on=batch.first_day - timedelta(days=1))
        if len(before) != 1:
            return None
        holder = self._with_files(before[0])
        return holder if holder.files == batch.files else None

    def _with_files(self, batch: Batch) -> Batch:
        """The batch itself, or the one that holds the files which it repeats."""
        if batch.same_as is None:
            return batch
        return self._read_manifest(self.root / batch.table / batch.same_as)

    def batches(self, table: str | None = None, up_to: date | None = None, on: date | None = None) -> list[Batch]:
        """Landed batches in the order of their days.

        Args:
            up_to: Only batches whose day is this one or earlier.
            on: Only batches of this day.

        Raises:
            DataFailed: A manifest cannot be read or is not that of its folder.
        """
        found = [self._read_manifest(path) for path in self._folders(table or "*")]
        return sorted(
            (
                batch
                for batch in found
                if (up_to is None or batch.last_day <= up_to) and (on is None or batch.last_day == on)
            ),
            key=lambda batch: (batch.table, batch.last_day, batch.first_day, batch.id),
        )

    def deliveries(self, table: str | None = None, up_to: date | None = None, on: date | None = None) -> list[Batch]:
        """The batches that the source delivered: those that readmit quarantined rows are left out."""
        return [batch for batch in self.batches(table, up_to, on) if batch.readmits is None]

    def batch(self, table: str, batch_id: str) -> Batch:
        """A landed batch by its name.

        Raises:
            DataFailed: There is none, or its manifest cannot be read.
        """
        return self._read_manifest(self.root / table / batch_id)

    def delivered_again(self, batch: Batch) -> list[Batch]:
        """The batches of the same table and days that the source delivered after this one."""
        return [
            other
            for other in self.deliveries(batch.table, on=batch.last_day)
            if other.first_day == batch.first_day and self._delivery_order(other) > self._delivery_order(batch)
        ]

    def newest_day(self, table: str) -> date | None:
        """The newest day of a table that has landed; only that batch's manifest is read.

        Raises:
            DataFailed: The manifest cannot be read.
        """
        folders = sorted(self._folders(table), key=lambda folder: folder.name)
        return self._read_manifest(folders[-1]).last_day if folders else None

    def delivered(self, day: date) -> list[Batch]:
        """What is to be judged for the run that ends on a day: the newest delivery of each table, in contract order.

        A table that is landed in pieces (by week) has one batch per piece, over the same days as the other tables.
        """
        on_day = self.deliveries(on=day)
        run_first = min((batch.first_day for batch in on_day), default=day)
        delivered: list[Batch] = []
        for table in CONTRACT:
            found = sorted((batch for batch in on_day if batch.table == table), key=self._delivery_order)
            if found and all(batch.first_day > run_first for batch in found):
                pieces = [batch for batch in self.deliveries(table, up_to=day) if batch.first_day >= run_first]
                pieces.sort(key=self._delivery_order)
                newest = {(batch.last_day, batch.first_day): batch for batch in pieces}
                delivered += [newest[days] for days in sorted(newest)]
            else:
                delivered += found[-1:]
        return delivered

    def _delivery_order(self, batch: Batch) -> tuple[int, datetime, str]:
        return (self._folder_of(batch) / _MANIFEST).stat().st_mtime_ns, batch.landed_at, batch.id

    def _folders(self, table: str) -> Iterator[Path]:
        for path in sorted(self.root.glob(f"{table}/*")):
            if path.is_dir() and not path.name.startswith(_UNFINISHED):
                yield path

    def _folder_of(self, batch: Batch) -> Path:
        return self.root / batch.table / batch.id

    def _read_manifest(self, folder: Path) -> Batch:
        path = folder / _MANIFEST
        try:
            raw = json.loads(path.read_bytes())
            raw["first_day"] = date.fromisoformat(raw["first_day"])
            raw["last_day"] = date.fromisoformat(raw["last_day"])
            raw["landed_at"] = datetime.fromisoformat(raw["landed_at"])
            batch = Batch(**raw)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataFailed(f"{path}: the manifest of a landed batch cannot be read; restore it") from error
        days = (batch.last_day - batch.first_day).days + 1
        is_named_so = batch.id.startswith(f"{batch.last_day}.{days}d.") and folder.name == batch.id
        if not is_named_so or folder.parent.name != batch.table:
            raise DataFailed(f"{path}: the manifest is that of another batch; restore it")
        if batch.same_as is None and _digest(batch.files) != batch.digest:
            raise DataFailed(f"{path}: the manifest's sha256 do not match the batch's id; restore it")
        return batch

    def read(self, batch: Batch) -> pa.Table:
        """The batch's rows as they were delivered, from bytes that match the manifest.

        Raises:
            DataFailed: A file is missing or its bytes changed.
        """
        holder = self._with_files(batch)
        return pq.read_table(self._open(holder, _ROWS))

    def read_chunks(self, batch: Batch, max_rows: int) -> Iterator[pa.Table]:
        """The rows of `read` in their order, at most `max_rows` at a time; an empty batch is one empty chunk.

        Raises:
            DataFailed: A file is missing or its bytes changed; told at once, not with the first chunk.
        """
        return _chunks(self._open(self._with_files(batch), _ROWS), max_rows)

    def read_unparsed(self, batch: Batch) -> pa.Table:
        """Lines of the batch that could not be split into columns (`UNPARSED_SCHEMA`), from verified bytes."""
        holder = self._with_files(batch)
        if _UNPARSED not in holder.files:
            return UNPARSED_SCHEMA.empty_table()
        return pq.read_table(self._open(holder, _UNPARSED))

    def _open(self, batch: Batch, name: str) -> Path:
        path = self._folder_of(batch) / name
        if path not in self._verified:
            problem = _problem_of(path, batch.files[name]["sha256"])
            if problem is not None:
                raise DataFailed(problem)
            self._verified.add(path)
        return path

    def scrub(self) -> list[str]:
        """Hash every landed file; returns what is wrong, one line each."""
        problems = []
        for folder in self._folders("*"):
            try:
                batch = self._read_manifest(folder)
                if batch.same_as is not None:
                    self._with_files(batch)
            except DataFailed as error:
                problems.append(str(error))
                continue
            found = (_problem_of(folder / name, entry["sha256"]) for name, entry in batch.files.items())
            problems += [problem for problem in found if problem is not None]
        return problems


def _write_files(folder: Path, delivery: Delivery) -> dict[str, dict[str, Any]]:
    contents = {_ROWS: delivery.rows}
    if delivery.unparsed is not None and delivery.unparsed.num_rows:
        contents[_UNPARSED] = delivery.unparsed
    files = {}
    for name, rows in contents.items():
        # One chunk a column: how a source sliced its rows must not show in the bytes, which name the batch.
        pq.write_table(rows.combine_chunks(), folder / name, compression="zstd")
        files[name] = {"sha256": sha256_file(folder / name), "rows": rows.num_rows}
    return files


def _chunks(path: Path, max_rows: int) -> Iterator[pa.Table]:
    """Whole row groups as long as they fit together, a larger one in pieces."""
    with pq.ParquetFile(path) as file:
        waiting = file.schema_arrow.empty_table()
        for number in range(file.num_row_groups):
            group = file.read_row_group(number)
            if waiting.num_rows and waiting.num_rows + group.num_rows > max_rows:
                yield waiting
                waiting = group
            else:
                waiting = pa.concat_tables([waiting, group])
            while waiting.num_rows > max_rows:
                yield waiting.slice(0, max_rows)
                waiting = waiting.slice(max_rows)
        if waiting.num_rows or file.metadata.num_rows == 0:
            yield waiting


def _digest(files: dict[str, dict[str, Any]]) -> str:
    """Digest of a batch's content, from the digests of its files."""
    content = "".join(f"{name}:{entry['sha256']}\n" for name, entry in sorted(files.items()))
    return hashlib.sha256(content.encode()).hexdigest()[:_DIGEST_LENGTH]


def _problem_of(path: Path, sha256: str) -> str | None:
    if not path.exists():
        return f"{path}: file of a landed batch is missing; restore it or land the days again"
    if sha256_file(path) != sha256:
        return f"{path}: bytes of a landed batch do not match the manifest's sha256; restore the file"
    return None


def _remove_unfinished(folder: Path) -> None:
    """Remove what a killed process left behind; the caller holds the lock, so no living one is writing."""
    for path in folder.glob(f"{_UNFINISHED}*"):
        shutil.rmtree(path, ignore_errors=True)
