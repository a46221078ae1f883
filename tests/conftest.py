import gc
import os
import tempfile
from collections.abc import Iterator

import pytest

gc.disable()  # five thousand tests are collected, and none of them is garbage


def pytest_collection_finish() -> None:
    gc.freeze()  # nor is it looked through again and again while they run
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def own_temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Bots lock their account in the temporary folder: tests that run side by side, or beside a bot, must not meet."""
    folder = str(tmp_path_factory.mktemp("temporary"))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("TMPDIR", "TMP", "TEMP"):
            patch.setitem(os.environ, name, folder)
        patch.setattr(tempfile, "tempdir", folder)
        yield
