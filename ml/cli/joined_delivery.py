"""Rows of the platform's own beside what a source delivers, in one delivery."""

from dataclasses import replace

import pyarrow as pa

from ml.shop.delivery import Delivery


def joined(delivery: Delivery, own: pa.Table) -> Delivery:
    """The delivery with further rows, in the source's form: text where it delivers text.

    Columns that one of the two lacks are null there. Own columns are there even without own rows, so that what a table
    delivers does not change from day to day.

    Args:
        own: Rows in the contract's types.
    """
    if delivery.format == "text":
        own = own.cast(pa.schema([pa.field(name, pa.string()) for name in own.schema.names]))
    rows = delivery.rows
    for field in own.schema:
        if field.name in rows.schema.names:
            rows, own = _alike(rows, own, field.name)
        else:
            rows = rows.append_column(field, pa.nulls(rows.num_rows, field.type))
    return replace(delivery, rows=pa.concat_tables([rows, own], promote_options="default"))


def _alike(rows: pa.Table, own: pa.Table, name: str) -> tuple[pa.Table, pa.Table]:
    """Both with one type for a column: the source's if own values fit in, else the contract's, else text.

    The arrival gate judges the source's types; they must not be mended here beyond what it would take.
    """
    theirs, ours = rows.schema.field(name).type, own.schema.field(name).type
    for rows_type, own_type in ((theirs, theirs), (ours, ours), (pa.string(), pa.string())):
        try:
            return _cast(rows, name, rows_type), _cast(own, name, own_type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            continue
    return rows, own


def _cast(rows: pa.Table, name: str, kind: pa.DataType) -> pa.Table:
    place = rows.schema.names.index(name)
    field = rows.schema.field(name)
    return rows if field.type == kind else rows.set_column(place, pa.field(name, kind), rows.column(name).cast(kind))
