"""Experiences that travel: exports, merges in any order, damaged files, what is read together."""

import gzip
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trials import some

from mulligan.errors import MulliganError
from mulligan.meta.experience import Experience, damage, read, shipped_and_own
from mulligan.meta.store import exchange
from mulligan.meta.store.exchange import problems, read_file, write_file
from mulligan.meta.store.record import Records
from mulligan.meta.store.sources import ImportSource

SOURCE = ImportSource("theirs", "ada@there", "2026-11-27T12:00:00+00:00", "theirs.jsonl.gz", "0" * 64)


def experience(path, *added: Records) -> Experience:
    made = Experience(path)
    for each in added:
        made.take([(SOURCE, each)])
    return made


def test_an_export_is_what_was_there(tmp_path):
    held = some(range(5), "ab")
    write_file(tmp_path / "x.jsonl.gz", experience(tmp_path / "one.db", held).records())
    assert read_file(tmp_path / "x.jsonl.gz") == held == read(tmp_path / "one.db")
    assert damage(str(tmp_path / "x.jsonl.gz")) == damage(str(tmp_path / "one.db")) == []


@pytest.mark.slow
@settings(max_examples=6)
@given(st.lists(st.sets(st.integers(0, 5), max_size=4), min_size=1, max_size=3), st.data())
def test_a_merge_is_a_union_in_any_order_and_any_number_of_times(tmp_path_factory, parts, data):
    folder = tmp_path_factory.mktemp("merge")
    order = data.draw(st.permutations(parts))
    again = data.draw(st.sampled_from(parts))
    exports = []
    for number, sequence in enumerate((parts, [*order, again])):
        path = folder / f"{number}.jsonl.gz"
        write_file(path, experience(folder / f"{number}.db", *map(some, sequence)).records())
        exports.append(path.read_bytes())
    assert exports[0] == exports[1]
    assert {each.seed for each in read_file(folder / "0.jsonl.gz").trials.values()} == set().union(*parts)


def test_trials_that_name_no_embedding_were_judged_in_the_first(tmp_path):
    """As files of format 1 hold them: read back, nothing of them has changed."""
    held = some(range(2))
    old = [replace(each, embedding="m1") for each in held.trials.values()]
    write_file(tmp_path / "x.jsonl.gz", Records(held.tasks, {each.id: each for each in old}))
    rewritten(tmp_path / "x.jsonl.gz", lambda lines: [line.replace('"format":3', '"format":1') for line in lines])
    assert b"embedding" not in gzip.decompress((tmp_path / "x.jsonl.gz").read_bytes())
    found = read_file(tmp_path / "x.jsonl.gz").trials
    assert {(name, each.id, each.embedding) for name, each in found.items()} == {(e.id, e.id, "m1") for e in old}


def test_a_merge_with_itself_changes_nothing(tmp_path):
    made = experience(tmp_path / "one.db", some(range(3)))
    assert made.take([(SOURCE, read(tmp_path / "one.db"))]) == [0]
    assert len(list(made.trials())) == 3


def rewritten(path, change) -> None:
    lines = gzip.decompress(path.read_bytes()).decode().splitlines(keepends=True)
    path.write_bytes(gzip.compress("".join(change(lines)).encode()))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-40]),
        lambda path: path.write_bytes(b"\x00" + path.read_bytes()[1:]),
        lambda path: path.write_bytes(gzip.compress(b'{"some": "json"}\n')),
        lambda path: path.write_bytes(gzip.compress(b"[1]\n")),
        lambda path: rewritten(path, lambda lines: [line.replace("0.125", "0.126") for line in lines]),
        lambda path: rewritten(path, lambda lines: [*lines[:2], *lines[3:]]),
        lambda path: rewritten(path, lambda lines: lines[:-1]),
        lambda path: rewritten(
            path, lambda lines: [line.replace('"format":3,"tasks"', '"format":9,"tasks"') for line in lines]
        ),
        lambda path: path.unlink(),
    ],
)
def test_a_damaged_export_is_found_and_refused(tmp_path, spoil):
    path = tmp_path / "x.jsonl.gz"
    write_file(path, some(range(4)))
    spoil(path)
    assert list(problems(path))
    with pytest.raises(MulliganError, match=r"x\.jsonl\.gz cannot be used"):
        read_file(path)


def test_an_export_says_what_it_is_in_its_name(tmp_path):
    with pytest.raises(MulliganError, match="does not end in"):
        write_file(tmp_path / "x.db", some(range(1)))


def test_there_must_be_something_to_read(tmp_path):
    with pytest.raises(MulliganError, match="there is no experience"):
        read(tmp_path / "none.db")
    assert not (tmp_path / "none.db").exists()


def test_the_shipped_and_the_own_are_read_together(tmp_path, monkeypatch):
    monkeypatch.setattr(exchange, "PACKAGE", tmp_path)
    own = str(tmp_path / "own.db")
    assert shipped_and_own(own) == Records({}, {})
    write_file(tmp_path / "experience-2026-01-01.jsonl.gz", some([9]))
    write_file(tmp_path / "experience-2026-02-01.jsonl.gz", some([1, 2]))
    assert shipped_and_own(own) == some([1, 2])
    experience(own, some([2, 3]))
    assert shipped_and_own(own) == some([1, 2, 3])


def test_an_export_holds_text_that_others_can_read(tmp_path):
    write_file(tmp_path / "x.jsonl.gz", some([1]))
    lines = [json.loads(line) for line in gzip.decompress((tmp_path / "x.jsonl.gz").read_bytes()).splitlines()]
    assert [next(iter(line)) for line in lines] == ["format", "digest", "digest", "end"]
