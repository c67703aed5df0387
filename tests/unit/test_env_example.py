"""`.env.example` names every setting that a person sets, and each of its lines is allowed as it stands."""

import re
from pathlib import Path

import pytest

from ml.monitoring.freshness import objectives
from ml.settings import PREFIX, PROJECT_DIR, Settings

TEXT = (PROJECT_DIR / ".env.example").read_text()
LINES = re.findall(rf"^# {PREFIX}([A-Z_]+)=(.*?)(?: +#.*)?$", TEXT, re.M)
SET_BY_UP = {"MLFLOW_TRACKING_URI", "AIRFLOW_API_URL"}
SHOWN_FILLED = {"source", "files_dir", "files_mapping", "source_url", "quarantine_budgets", "owners", "freshness"} | {
    "lineage_url",
    "state_url",
    "operations_url",
    "alert_urls",
}


def test_every_setting_is_there_and_nothing_else():
    names = {name for name, _value in LINES}
    assert names | SET_BY_UP == {name.upper() for name in Settings.model_fields}
    assert len(re.findall(PREFIX, TEXT)) == len(LINES), "each mention is a line that can be uncommented"


@pytest.mark.parametrize(("name", "value"), LINES)
def test_a_line_can_be_uncommented(name, value, tmp_path: Path):
    needed = {"SOURCE_URL": "postgresql://x@y/z", "FILES_DIR": "/x"}
    lines = {**(needed if name == "SOURCE" else {}), name: value}
    (tmp_path / ".env").write_text("\n".join(f"{PREFIX}{key}={text}" for key, text in lines.items()))
    settings = Settings(_env_file=tmp_path / ".env")
    objectives(settings.freshness)
    default = Settings.model_fields[name.lower()].get_default(call_default_factory=True)
    if name.lower() not in SHOWN_FILLED:
        assert getattr(settings, name.lower()) == default, "what is shown is the default"
