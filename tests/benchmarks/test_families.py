"""Families for learning, validation and test: frozen as they were drawn, and test families read by nobody else."""

import json
import re
from pathlib import Path

import pytest

from benchmarks.common import families as drawn
from mulligan.networks.pretrained import FILES, cards

ROOT = Path(__file__).resolve().parents[2]
ZOO = ROOT.parent / "shared" / "data" / "zoo"
ASKS_FOR_TEST = re.compile(r"""families\(\s*["']test["']\s*\)|\[\s*["']test["']\s*\]""")


def test_no_family_has_two_roles():
    names = [name for role in drawn.ROLES for name in drawn.families(role)]
    assert len(names) == len(set(names)) == 40
    assert [len(drawn.families(role)) for role in drawn.ROLES] == [20, 10, 10]
    assert set(drawn.OLDER) <= set(drawn.families("learning"))


@pytest.mark.skipif(not ZOO.is_dir(), reason="needs the zoo of image families beside the repository")
def test_the_frozen_file_is_what_its_seed_draws():
    assert drawn.draw(ZOO) == json.loads(drawn.FROZEN.read_text())


def programs():
    """Every Python file that could learn, probe or tune something."""
    found = (path for room in ("benchmarks", "mulligan", "tools", "examples") for path in (ROOT / room).rglob("*.py"))
    return sorted(path for path in found if ".venv" not in path.parts)


def test_only_programs_that_may_read_test_families():
    reading = {
        str(path.relative_to(ROOT))
        for path in programs()
        if "families import" in (text := path.read_text()) and ASKS_FOR_TEST.search(text)
    }
    assert reading <= set(drawn.MAY_TEST)


def test_no_program_names_a_test_family():
    others = [path for path in programs() if path.name != "families.py"]
    names = re.compile("|".join(rf"\b{name}\b" for name in drawn.families("test")))
    assert not [path.name for path in others if names.search(path.read_text())]


def test_what_ships_was_learned_on_learning_families_alone():
    learned = {name for init in FILES for card in cards(init) for name in card["trained_on"]}
    assert learned >= set(drawn.ELSEWHERE)
    assert learned - set(drawn.ELSEWHERE) <= set(drawn.families("learning"))
    assert not set(drawn.ELSEWHERE) & {name for role in drawn.ROLES for name in drawn.families(role)}
