"""Columns of the kinds that many tables have."""

from ml.shop.contract.table import Column, ColumnType, Tag

PERSONAL = frozenset({Tag.PERSONAL})
AUDIT = frozenset({Tag.PERSONAL, Tag.AUDIT_ONLY})


def identifier(name: str, description: str, *, nullable: bool = False, personal: bool = False) -> Column:
    """A column that names something."""
    return Column(name, ColumnType.STRING, description, nullable=nullable, tags=PERSONAL if personal else frozenset())


def text(name: str, description: str, *, tags: frozenset[Tag] = frozenset()) -> Column:
    """A column of words, which the shop may leave out."""
    return Column(name, ColumnType.STRING, description, nullable=True, tags=tags)


def moment(name: str, description: str, *, nullable: bool = False) -> Column:
    """A column of points in time; the description gets its unit."""
    return Column(name, ColumnType.TIMESTAMP, f"{description} (UTC).", nullable=nullable)


def cents(name: str, description: str, *, nullable: bool = False) -> Column:
    """A column of money; the description gets its unit."""
    return Column(
        name, ColumnType.INT64, f"{description}, in cents of `currency`.", nullable=nullable, minimum=0, is_amount=True
    )


CURRENCY = Column("currency", ColumnType.STRING, "ISO 4217 code; must be the shop's settlement currency.")
CUSTOMER_ID = identifier("customer_id", "The customer.", personal=True)
