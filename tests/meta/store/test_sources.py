"""Imports: all of them or nothing, by whom and when, and away again."""

import gzip
import json
import sqlite3
from dataclasses import replace

import pytest
from trials import some, task, trial

from mulligan.errors import MulliganError
from mulligan.meta.experience import Experience, read, take
from mulligan.meta.overview import overview, overview_lines
from mulligan.meta.store import rows, sources
from mulligan.meta.store.exchange import read_file, write_file
from mulligan.meta.store.record import HERE, Records, digest


@pytest.fixture
def mine(tmp_path):
    """An experience with two trials of its own."""
    made = Experience(tmp_path / "mine.db")
    made.add_task(task())
    made.add([trial(0), trial(1)])
    return made


def exported(path, records):
    write_file(path, records)
    return str(path)


def resealed(path, change) -> str:
    """The exported file with its rows changed, and its digests made right again: what a hostile hand would do."""
    lines = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    for line in lines[1:-1]:
        kind = next(kind for kind in ("task", "trial") if kind in line)
        change(kind, line[kind])
        line["digest"] = digest(line[kind])
    lines[-1] = {"end": digest([line["digest"] for line in lines[1:-1]])}
    path.write_bytes(gzip.compress("".join(json.dumps(line) + "\n" for line in lines).encode()))
    return str(path)


def all_of(experience):
    return experience.tasks(), sorted(each.id for each in experience.trials()), experience.sources()


def test_one_bad_row_in_the_middle_and_nothing_is_imported(mine, tmp_path):
    good = exported(tmp_path / "good.jsonl.gz", some(range(10, 14), "b"))
    path = tmp_path / "bad.jsonl.gz"
    write_file(path, some(range(20, 30), "c"))

    def spoil(kind, document):
        if kind == "trial" and document["seed"] == 25:
            document["curve"][1][0] = 7

    resealed(path, spoil)
    before = all_of(mine)
    with pytest.raises(MulliganError, match=r"bad\.jsonl\.gz cannot be taken in.*the trial in line \d+'s curve"):
        take(mine, [good, str(path)])
    assert all_of(mine) == before
    assert [new for _, new, _ in take(mine, [good])] == [4]


def test_a_failure_while_writing_leaves_nothing(mine, monkeypatch, tmp_path):
    path = exported(tmp_path / "theirs.jsonl.gz", some(range(5, 9), "b"))
    before, written = all_of(mine), []

    def fail(connection, added, *rest):
        written.append(added)
        if len(written) == 3:
            raise MulliganError("the disk is full.")
        return real(connection, added, *rest)

    real = rows.add_trial
    monkeypatch.setattr(rows, "add_trial", fail)
    with pytest.raises(MulliganError, match="disk is full"):
        take(mine, [path])
    assert len(written) == 3
    assert all_of(mine) == before


def test_a_trial_of_a_task_that_nobody_knows_is_refused(mine, tmp_path):
    records = some([5], "b")
    path = exported(tmp_path / "theirs.jsonl.gz", Records({}, records.trials))
    before = all_of(mine)
    with pytest.raises(MulliganError, match="a task that the file does not hold"):
        take(mine, [path])
    assert all_of(mine) == before


def test_an_import_is_remembered_and_can_be_undone(mine, tmp_path, monkeypatch):
    monkeypatch.setattr(sources.getpass, "getuser", lambda: "ada")
    before = all_of(mine)
    path = exported(tmp_path / "theirs.jsonl.gz", some(range(1, 4), "ab"))
    [(name, new, trials)] = take(mine, [path])
    assert (new, trials) == (5, 6)  # one was known
    [source] = mine.sources().values()
    assert source.name == name == f"theirs.jsonl.gz@{source.sha256[:8]}"
    assert source.who.startswith("ada@")
    assert {each.source for each in mine.trials("hash-b")} == {name}
    assert {each.seed: each.source for each in mine.trials("hash-a")} == {0: HERE, 1: HERE, 2: name, 3: name}
    assert take(mine, [path]) == [(name, 0, 6)]
    assert mine.remove(source=name) == (5, 1)
    assert all_of(mine) == before
    assert not list(mine.problems())
    assert take(mine, [path]) == [(name, 5, 6)]  # and come again


def test_a_source_may_be_named_and_ones_own_is_here(mine, tmp_path):
    path = exported(tmp_path / "theirs.jsonl.gz", some([5], "a"))
    other = exported(tmp_path / "laptop.jsonl.gz", some([6], "a"))
    take(mine, [path], "ada")
    take(mine, [other], HERE)
    assert list(mine.sources()) == ["ada"]
    assert {each.seed: each.source for each in mine.trials()} == {0: HERE, 1: HERE, 5: "ada", 6: HERE}
    for name in ("shipped", "", "x" * 200, "a\x1bb"):
        with pytest.raises(MulliganError, match="name of a source"):
            take(mine, [path], name)


def test_experiences_are_sources_too(mine, tmp_path):
    other = Experience(tmp_path / "other.db")
    other.add_task(task("b"))
    other.add([trial(3, "b")])
    [(name, new, _)] = take(mine, [str(tmp_path / "other.db")])
    assert (name.partition("@")[0], new) == ("other.db", 1)
    with sqlite3.connect(tmp_path / "other.db") as raw:
        raw.execute("UPDATE trials SET finished = 'some day'")
    before = all_of(mine)
    with pytest.raises(MulliganError, match="finished"):
        take(mine, [str(tmp_path / "other.db")])
    assert all_of(mine) == before


def test_what_is_removed_meets_every_condition(mine):
    mine.add_task(task("b"))
    mine.add([trial(5, "b"), trial(6, "b")])
    assert mine.remove(trial=trial(5, "b").id) == (1, 0)
    assert mine.remove(source=HERE, task="family/b") == (1, 1)
    assert sorted(each.seed for each in mine.trials()) == [0, 1]
    for chosen in ({"source": "theirs"}, {"task": "c"}, {"trial": "x"}, {"source": "theirs", "task": "family/a"}):
        with pytest.raises(MulliganError, match="nothing of the kind to remove; its sources are here"):
            mine.remove(**chosen)
    assert mine.remove(task="hash-a") == (2, 0)


BAD_ROWS = {
    "not JSON": "UPDATE trials SET cost = 'not json' WHERE seed = 1",
    "another type": """UPDATE trials SET cost = '{"seconds": "two"}' WHERE seed = 1""",
    "a recipe that is none": """INSERT INTO recipes VALUES ('r', '{"loss": 7}');
                                UPDATE trials SET recipe = 'r' WHERE seed = 1""",
    "a curve that goes back": """UPDATE curves SET seconds = 9e9 WHERE nimg = 100
                                 AND trial = (SELECT id FROM trials WHERE seed = 1)""",
    "a status that is none": "UPDATE trials SET status = 'won' WHERE seed = 1",
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_a_row_that_cannot_be_read_stops_nothing_and_is_told(mine, case):
    with sqlite3.connect(mine.place) as raw:
        raw.executescript(BAD_ROWS[case])
    found = read(mine.place)
    assert [each.seed for each in found.trials.values()] == [0]
    assert found.told().startswith("1 row of the experience left out")
    shown = overview(mine.place)
    assert shown["tasks"][0]["trials"] == 1
    assert trial(1).id in shown["told"]
    assert trial(1).id in "".join(mine.problems())


def test_a_task_that_cannot_be_read_takes_its_trials_with_it(mine):
    mine.add_task(task("b"))
    mine.add([trial(5, "b")])
    with sqlite3.connect(mine.place) as raw:
        raw.execute("UPDATE tasks SET counts = '{}' WHERE id = 'hash-a'")
    found = read(mine.place)
    assert list(found.tasks) == ["hash-b"]
    assert [each.seed for each in found.trials.values()] == [5]


def test_what_cost_nothing_is_listed(mine):
    mine.add([replace(trial(7), cost={}, curve=(), status="failed", reason="it diverged")])
    assert overview(mine.place)["tasks"][0]["seconds"] == 4.0


def test_sources_are_listed(mine, tmp_path):
    assert not any("source" in line for line in overview_lines(overview(mine.place)))
    take(mine, [exported(tmp_path / "theirs.jsonl.gz", some([5], "a"))], "ada")
    assert [(each["name"], each["trials"]) for each in overview(mine.place)["sources"]] == [(HERE, 2), ("ada", 1)]
    lines = overview_lines(overview(mine.place))
    assert [line.split()[:2] for line in lines[-3:]] == [["source", "trials"], [HERE, "2"], ["ada", "1"]]


@pytest.mark.parametrize(
    "content",
    [
        b'{"format": 2}\n' + b" " * (5 * 2**20),  # a line without end
        b'{"format": 2}\n' + b"[" * 100_000,
        b'{"format": 2}\n{"trial": NaN, "digest": "x"}\n{"end": "x"}\n',
        b'{"format": 2}\n{"trial": 1e999, "digest": 3}\n{"end": {}}\n',
        b'{"format": true}\n',
        b"7\n",
        b'{"format": 2}\n"task"\n',
        b"",
    ],
)
def test_hostile_files_are_one_sentence(tmp_path, content):
    path = tmp_path / "x.jsonl.gz"
    path.write_bytes(gzip.compress(content))
    with pytest.raises(MulliganError, match=r"x\.jsonl\.gz cannot be used"):
        read_file(path)


def test_no_more_is_unpacked_than_an_experience_may_hold(tmp_path, monkeypatch):
    monkeypatch.setattr("mulligan.meta.store.exchange.MOST_BYTES", 10_000)
    path = exported(tmp_path / "x.jsonl.gz", some(range(100)))
    with pytest.raises(MulliganError, match="unpacks to more"):
        read(path)
