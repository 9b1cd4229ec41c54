"""The table of benchmarks lists every program, and every program that it lists is there."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHARED = ("common", "contenders", "peers")  # folders of what programs share or start


def test_every_program_is_listed_once():
    programs = (path for path in (ROOT / "benchmarks").rglob("*.py") if not set(SHARED) & set(path.parts))
    startable = {str(path.relative_to(ROOT)) for path in programs if '__name__ == "__main__"' in path.read_text()}
    rows = [row for row in (ROOT / "benchmarks/README.md").read_text().splitlines() if row.startswith("| ")]
    listed = re.findall(r"benchmarks/\w+/\w+\.py", "\n".join(rows))
    assert sorted(listed) == sorted(startable)
