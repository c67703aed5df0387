"""The README's "Break it" section, followed to the letter, but for the folder that the shop is put in."""

import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def commands_of(name: str) -> str:
    """The shell block that the README marks with `<!-- test: name -->`."""
    found = re.search(rf"<!-- test: {name} -->\n```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert found, f"the README has no block marked {name!r}"
    return found.group(1)


def test_breaking_it_goes_as_the_readme_says(tmp_path):
    script = commands_of("break it").replace("var/tryout_shop", str(tmp_path / "tryout_shop"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SHOPWRIGHT_")}
    environment["SHOPWRIGHT_STATE_DIR"] = str(tmp_path / "var")
    done = subprocess.run(["sh", "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert re.findall(r"exit code (\d)", done.stdout) == ["0", "3", "0"], said
    assert "amount_cents is missing" in said
    assert "1 open incident" in said
