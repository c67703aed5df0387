"""The warehouse's documentation as one page that needs no server."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from ml.outcomes import ToolFailed
from ml.settings import Settings, get_settings
from ml.stores.dbt_run import DBT_PROJECT_DIR
from ml.stores.durable import write_durably

_TIMEOUT_SECONDS = 300


def write_warehouse_docs(settings: Settings) -> Path:
    """Write what dbt knows of every table, column and test, with the graph of all models, as one HTML page.

    It describes the newest build, and opens no database: neither the platform nor a developer is disturbed.

    Returns:
        The page, under the shop's `reports` folder.

    Raises:
        ToolFailed: Nothing was built yet, or dbt could not do the work.
    """
    manifest = settings.shop_dir / "dbt" / "target" / "manifest.json"
    if not manifest.exists():
        raise ToolFailed(f"{manifest}: nothing was built yet; run `shopwright warehouse build` first")
    page = settings.shop_dir / "reports" / "warehouse.html"
    with tempfile.TemporaryDirectory(dir=settings.shop_dir) as folder:
        shutil.copy(manifest, folder)
        command = [
            *(sys.executable, "-m", "dbt.cli.main", "--no-use-colors", "docs", "generate", "--static"),
            *("--no-compile", "--empty-catalog", "--target-path", folder),
            *("--project-dir", str(DBT_PROJECT_DIR), "--profiles-dir", str(DBT_PROJECT_DIR)),
            *("--log-path", folder, "--log-level-file", "none"),
        ]
        environment = {"PYTHONUTF8": "1", "DO_NOT_TRACK": "1", "SHOPWRIGHT_STATE_DIR": folder}
        try:
            finished = subprocess.run(
                command,
                env=environment,
                cwd=DBT_PROJECT_DIR,
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ToolFailed(f"dbt docs did not finish within {_TIMEOUT_SECONDS} s") from error
        written = Path(folder) / "static_index.html"
        if finished.returncode != 0 or not written.exists():
            last_line = (finished.stdout.strip().splitlines() or ["no output"])[-1]
            raise ToolFailed(f"dbt docs ended with exit code {finished.returncode}: {last_line}")
        write_durably(page, written.read_bytes())
    return page


@click.command()
def docs() -> None:
    """Write the warehouse's documentation, tables to lineage graph, as one page and print where it is."""
    click.echo(write_warehouse_docs(get_settings()))
