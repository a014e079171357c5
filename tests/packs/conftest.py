import pytest


@pytest.fixture
def folder(pack, tmp_path):
    return pack.save_pretrained(tmp_path / "tiny")
