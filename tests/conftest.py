"""What all tests share: every notebook is a test, real data come by `MOTKIT_DATA` alone, Chromium is Debian's."""

import os
from pathlib import Path

import pytest

pytest_plugins = ["browser_fixtures", "postgres_fixture"]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data; tests that need it say so when it is not set."""
    folder = os.environ.get("MOTKIT_DATA")
    if not folder:
        pytest.skip("MOTKIT_DATA is not set, so real data are not tried")
    return Path(folder)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several workers a file stays with one of them, so that what it computes once is computed once; notebooks go one by one."""
    for item in items:
        if item.path.name != "test_notebooks.py":
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
