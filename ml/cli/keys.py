"""`shopwright key`: a key of the API."""

import json
import re
from datetime import datetime

import click

from ml.serving.keys import key_digest, new_key
from ml.settings import KEY_NAME, PREFIX, SCOPES


@click.command()
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, required=True, type=click.Choice(SCOPES), help="May be given again.")
@click.option("--until", type=click.DateTime(formats=["%Y-%m-%d"]), help="Last day of the key; without, it has none.")
def key(name: str, scopes: tuple[str, ...], until: datetime | None) -> None:
    """Make a key for NAME. It is shown once; only its sha256 is kept, where you put it. It signs with NAME."""
    if re.fullmatch(KEY_NAME.strip("^$"), name) is None:
        raise click.UsageError("NAME: expected up to 40 lower-case letters, digits and ._-, a letter first")
    made = new_key()
    last_day = f"@{until.date().isoformat()}" if until else ""
    grant = " ".join([f"{key_digest(made)}{last_day}", *dict.fromkeys(scopes)])
    click.echo(f"the key, shown once: {made}")
    click.echo(f"in {PREFIX}API_KEYS: {json.dumps({name: grant})}")
