"""What the self-test's child process does: make one stage of the shop, or prove one gate."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from ml.cli.selftest.bench import Bench
from ml.cli.selftest.proofs import Walk
from ml.cli.selftest.registry import GATES
from ml.cli.selftest.stages import STAGES
from ml.settings import get_settings

RESULT = "proofs.json"


def main(walk: Walk, arguments: Sequence[str]) -> int:
    """`FOLDER stage NAME`, or `FOLDER gate NAME`, which leaves the proofs in the folder as JSON."""
    folder, what, name = Path(arguments[0]), arguments[1], arguments[2]
    bench = Bench(get_settings(), folder / "bench", folder / "kept")
    if what == "stage":
        STAGES[name](bench, walk)
        return 0
    proofs = GATES[name].prove(bench, walk)
    (folder / RESULT).write_text(json.dumps([asdict(proof) for proof in proofs]))
    return 0
