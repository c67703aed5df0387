"""docs/shop_contract.md says what ml/shop/contract/ holds."""

from ml.shop.contract import CONTRACT
from ml.shop.contract_page import PAGE, render_page


def test_the_page_in_the_repository_is_the_rendered_one():
    assert PAGE.read_text() == render_page(), "run `make docs`"


def test_the_page_names_every_table_and_column_with_its_rules():
    page = render_page()
    for table in CONTRACT.values():
        section = page.split(f"\n## {table.name}\n")[1].split("\n## ")[0]
        assert all(f"| `{column.name}` | {column.type} |" in section for column in table.columns)
    lines = page.split("\n## order_lines\n")[1].split("\n## ")[0]
    assert "| `quantity` | float64 | required; above 0 |" in lines
    assert "| `discount_cents` | int64 | may be absent; at least 0 |" in lines
    assert "Event time: `ordered_at`." in lines
    assert "A delivery without rows fails." in lines
    assert "| `age_band` | string | may be absent; audit-only; personal |" in page
