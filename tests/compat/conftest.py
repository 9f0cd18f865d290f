from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A directory that is gone when its test has ended: those of brokers are large."""
    yield tmp_path
    shutil.rmtree(tmp_path, ignore_errors=True)
