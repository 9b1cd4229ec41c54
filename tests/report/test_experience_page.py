"""The page of an experience: whole, escaped, and there for an empty one too."""

import pytest
from made_up import write_experience
from test_page import Outline
from trials import some, task

from mulligan.errors import MulliganError
from mulligan.meta.experience import read
from mulligan.meta.store.record import Records
from mulligan.recipe import Architecture, Recipe
from mulligan.report.experience import experience_page, write_experience_report

TINY = Recipe(Architecture(family="mlp", gen_width=16, disc_width=16, gen_depth=1, disc_depth=1, latent=8))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = str(tmp_path_factory.mktemp("experience") / "mine.db")
    write_experience(place, better=TINY)
    return place


def test_the_page_shows_who_won_where(place, tmp_path):
    assert write_experience_report(place, tmp_path / "page.html") is None
    text = (tmp_path / "page.html").read_text("utf-8")
    outline = Outline(text)
    assert outline.headings == ["Recipes", "Where they win", "Tasks"]
    rows = text.split("<tr>")
    assert TINY.hash()[:8] in rows[2]  # the first after the head
    assert "<td>6</td>" in rows[2]  # best on all six tasks
    assert 'class="good"' in text
    assert "http" not in text.replace("http-equiv", "")
    assert len(read(place).trials) == 18


def test_an_empty_experience_has_a_page():
    assert "Nothing can be compared yet" in experience_page(Records({}, {}))


def test_names_from_elsewhere_are_escaped():
    hostile = task()
    known = some(range(2))
    tasks = {hostile.id: hostile.__class__(**{**vars(hostile), "name": "<script>alert(1)</script>"})}
    assert "<script>alert(1)" not in experience_page(Records(tasks, known.trials))


def test_an_experience_that_is_not_there_is_a_sentence(tmp_path):
    with pytest.raises(MulliganError):
        write_experience_report(str(tmp_path / "none.db"), tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()
