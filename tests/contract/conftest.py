"""What contract tests share: parsing the dbt project once."""

from typing import Any

import pytest

from tests.dbt_projects import copy_project, parse_project


@pytest.fixture(scope="session")
def dbt_manifest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """dbt's manifest of the project as it is."""
    return parse_project(copy_project(tmp_path_factory.mktemp("project")), tmp_path_factory.mktemp("artifacts"))
