"""The log's index is that of its studies, and what they and the code point at is there."""

import re
from pathlib import Path

import pytest

from tools.log_index import LOG, index, read_study, studies

ROOT = Path(__file__).resolve().parents[2]
GOOD = "---\ndate: 2026-01-02\nverdict: open\nfinding: one line\n---\n\n# A title\n\nText.\n"


def test_the_index_is_current():
    assert (LOG / "README.md").read_text() == index(), "run python tools/log_index.py"


def test_the_program_of_every_study_is_there():
    named = [path for study in studies() for path in re.findall(r"\S+\.py", study.header.get("command", ""))]
    assert named
    assert not [path for path in named if not (ROOT / path).is_file()]


def test_studies_that_code_cites_are_there():
    code = [path for room in ("mulligan", "benchmarks", "tools") for path in (ROOT / room).rglob("*.py")]
    cited = [name for path in code for name in re.findall(r"docs/log/(\d[\w-]*\.md)", path.read_text())]
    assert cited
    assert not [name for name in cited if not (LOG / name).is_file()]


def test_a_study_is_read(tmp_path):
    path = tmp_path / "2026-01-02-some.md"
    path.write_text(GOOD)
    assert read_study(path).title == "A title"


@pytest.mark.parametrize(
    ("there", "instead"), [("open", "perhaps"), ("finding: one line\n", ""), ("2026-01-02", "2026-01-03")]
)
def test_a_header_that_is_not_as_it_should_be_is_refused(tmp_path, there, instead):
    path = tmp_path / "2026-01-02-some.md"
    path.write_text(GOOD.replace(there, instead))
    with pytest.raises(ValueError, match=r"2026-01-02-some\.md"):
        read_study(path)
