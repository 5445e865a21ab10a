import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data sets; a test that needs it is skipped without."""
    root = os.environ.get("DABENCH_DATA")
    if not root or not Path(root).is_dir():
        pytest.skip("set DABENCH_DATA to the folder of the real data sets")
    return Path(root).resolve()
