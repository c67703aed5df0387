"""`shopwright serve`: the API on loopback, until it is interrupted."""

import json
from pathlib import Path

import click

from ml.serving.supervisor import HOST, Supervisor, reserved_port
from ml.settings import PREFIX, PROJECT_DIR, SettingsError, get_settings


@click.command()
@click.option(
    "--port", type=click.IntRange(0, 65535), help="On 127.0.0.1; default SHOPWRIGHT_SERVING_PORT; 0: a free one."
)
@click.option("--host", default=HOST, show_default=True, help="Address to listen at; another one only behind a proxy.")
@click.option("--workers", type=click.IntRange(1, 64), help="Processes; default SHOPWRIGHT_SERVING_WORKERS.")
@click.option("--write-openapi", is_flag=True, help="Write docs/openapi.json, the description of the API, and end.")
def serve(port: int | None, host: str, workers: int | None, write_openapi: bool) -> None:
    """Serve the API, on loopback when not told otherwise. Put a proxy with TLS before it."""
    if write_openapi:
        _write_openapi(PROJECT_DIR / "docs" / "openapi.json")
        return
    settings = get_settings()
    if not settings.api_keys and settings.jwt_public_key is None:  # the workers would say so after their long imports
        raise SettingsError(f"{PREFIX}API_KEYS: expected at least one key; `shopwright key NAME` makes one")
    with reserved_port(settings.serving_port if port is None else port, host) as taken:
        click.echo(f"the API answers on http://{host}:{taken}")
        Supervisor(taken, workers or settings.serving_workers, click.echo, host).run()


def _write_openapi(path: Path) -> None:
    from ml.serving.openapi import openapi_document

    path.write_text(openapi_text(openapi_document()))
    click.echo(f"{path.relative_to(PROJECT_DIR)} is written")


def openapi_text(document: dict[str, object]) -> str:
    """The document as it is kept in git."""
    return json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
