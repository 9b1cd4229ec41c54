"""A user without a home: nothing is cached or remembered, and it is said."""

import pytest

from mulligan import places
from mulligan.errors import MulliganError
from mulligan.meta import experience
from mulligan.meta.experience import Experience, damage, shipped_and_own


@pytest.fixture
def homeless(monkeypatch):
    def nowhere(*_, **__):
        raise RuntimeError("could not determine the home directory")

    monkeypatch.setattr("platformdirs.user_cache_path", nowhere)
    monkeypatch.setattr("platformdirs.user_data_path", nowhere)
    monkeypatch.delenv("MULLIGAN_EXPERIENCE", raising=False)
    monkeypatch.delenv("MULLIGAN_CACHE", raising=False)


def test_there_are_no_places_but_those_that_are_given(homeless, monkeypatch, tmp_path):
    assert (places.cache_folder(), places.data_folder(), experience.own_place()) == (None, None, None)
    monkeypatch.setenv("MULLIGAN_CACHE", str(tmp_path))
    monkeypatch.setenv("MULLIGAN_EXPERIENCE", "mine.db")
    assert (places.cache_folder(), experience.own_place()) == (tmp_path, "mine.db")


def test_what_ships_is_still_remembered(homeless):
    assert shipped_and_own().trials


@pytest.mark.parametrize("ask", [Experience, damage])
def test_an_experience_of_ones_own_is_asked_for_in_one_sentence(homeless, ask):
    with pytest.raises(MulliganError, match="no home folder, so set MULLIGAN_EXPERIENCE"):
        ask()
