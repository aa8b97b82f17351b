"""docs/django.md names every setting, and what it says of them is so."""

from __future__ import annotations

import re

import pytest

from frameworks.django import project  # noqa: F401 - configures Django
from hosts.environments import ROOT
from whisperr.django import configuration

PAGE = (ROOT / "docs" / "django.md").read_text()
#: Name, default, place in the dict: the first three columns of the table of settings.
ROWS = {
    name: (default, place)
    for name, default, place in re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \|", PAGE, re.MULTILINE)
}


def test_the_table_has_every_setting_and_no_other() -> None:
    singles = {f"WHISPERR_{name.upper()}" for name in configuration.SINGLE}
    assert set(ROWS) == {"WHISPERR", *singles}


@pytest.mark.parametrize("name", configuration.SINGLE)
def test_the_table_says_what_each_is_called_in_the_dict(name: str) -> None:
    assert ROWS[f"WHISPERR_{name.upper()}"][1] == f"`{name}`"


def test_the_page_has_each_name_of_the_dict_that_is_no_option_of_the_client() -> None:
    for name in configuration.OWN:
        assert f"`{name}`" in PAGE


def test_the_page_lists_the_ids_of_the_checks() -> None:
    source = (ROOT / "src" / "whisperr" / "django" / "checks.py").read_text()
    ids = set(re.findall(r'id="(whisperr\.\w+)"', source))
    assert ids == set(re.findall(r"`(whisperr\.[EW]\d+)`", PAGE))
