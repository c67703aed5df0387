"""What a mapping's filters leave out is in the manifest of the batch, and older manifests still read."""

import json
from datetime import date
from pathlib import Path

import pyarrow as pa

from ml.shop.delivery import Delivery
from ml.stores.landing import Landing

DAY = date(2024, 7, 1)


def test_counts_are_kept_in_the_manifest_and_may_be_missing_from_it(tmp_path: Path) -> None:
    landing = Landing(tmp_path / "shop" / "landing")
    rows = pa.table({"order_id": ["1"], "_line": [2]})
    batch = landing.land(Delivery("orders", rows, "text", None, {"returned": 3}), DAY, DAY, "files")
    assert batch.rows == 1, "what is left out is no row of the batch"
    [found] = landing.batches("orders")
    assert found.left_out == {"returned": 3}
    manifest = landing.root / "orders" / batch.id / "manifest.json"
    content = json.loads(manifest.read_text())
    del content["left_out"]
    manifest.write_text(json.dumps(content))
    [older] = landing.batches("orders")
    assert older.left_out == {}
