"""The experience: what is written is read, claims end, writers neither lose nor double anything."""

import multiprocessing
import os
import sqlite3
import time
from dataclasses import replace

import pytest
from quick import quick_of
from sqlalchemy import text
from trials import task, trial, write_all, write_until_killed

from mulligan.errors import MulliganError
from mulligan.meta.experience import Experience, own_place
from mulligan.meta.store import schema
from mulligan.meta.store.record import FAILED, Trial

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    ["mulligan.meta.experience", "mulligan.networks.architecture"]
)  # imported once for all


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def place(tmp_path):
    path = str(tmp_path / "experience.db")
    Experience(path).add_task(task())
    return path


def seeds_of(place) -> list[int]:
    return sorted(each.seed for each in Experience(place).trials())


def done(place) -> int:
    """How many trials there are, without reading them."""
    return Experience(place).counts().get("hash-a", {}).get("done", 0)


def test_what_is_written_is_read(place):
    experience = Experience(place)
    written = [trial(0), trial(1, energy=None), trial(2, energy=float("nan")), trial(3, status=FAILED)]
    assert experience.add(written) == 4
    found = {each.seed: each for each in Experience(place).trials()}
    assert {each.id for each in written} == {each.id for each in found.values()}
    assert found[0] == written[0]
    assert found[2].curve[0].figures["energy"] is None
    assert (found[3].status, found[3].reason) == (FAILED, "it diverged")
    assert Experience(place).tasks() == [task()]
    assert experience.counts() == {"hash-a": {"done": 3, "failed": 1}}


def test_trials_of_one_task_only(place):
    experience = Experience(place)
    experience.add_task(task("b"))
    experience.add([trial(0), trial(1, "b")])
    assert [each.seed for each in experience.trials("hash-b")] == [1]


def test_a_trial_is_written_once(place):
    experience = Experience(place)
    assert [experience.add([trial(0)]), experience.add([trial(0), trial(1)])] == [1, 1]
    assert seeds_of(place) == [0, 1]


def test_a_trial_of_an_unknown_task_is_refused_and_nothing_is_written(place):
    with pytest.raises(MulliganError, match="does not know"):
        Experience(place).add([trial(0), trial(1, "nowhere")])
    assert seeds_of(place) == []


def test_a_claim_keeps_others_away_until_its_lease_ends(place):
    clock = Clock()
    experience, name = Experience(place, clock), trial(0).assignment
    assert experience.claim(name, "hash-a", "one", lease=10)
    assert not experience.claim(name, "hash-a", "two", lease=10)
    assert experience.taken() == {name}
    assert experience.counts() == {"hash-a": {"running": 1}}
    clock.now += 9
    assert experience.renew(name, "one", lease=10)
    clock.now += 9
    assert not experience.claim(name, "hash-a", "two", lease=10)
    clock.now += 1
    assert experience.taken() == set()
    assert experience.claim(name, "hash-a", "two", lease=10)
    assert not experience.renew(name, "one")
    assert not experience.finish(trial(0), name, "one")
    assert seeds_of(place) == []
    assert experience.finish(trial(0), name, "two")
    assert not experience.claim(name, "hash-a", "one")
    assert experience.taken() == {name}


def test_a_clock_that_jumps_back_loses_nothing(place):
    clock = Clock()
    experience, name = Experience(place, clock), trial(0).assignment
    assert experience.claim(name, "hash-a", "one", lease=10)
    clock.now -= 1e6
    assert not experience.claim(name, "hash-a", "two", lease=10)
    assert experience.finish(trial(0), name, "one")
    assert seeds_of(place) == [0]


def test_release_gives_back_what_a_worker_holds(place):
    experience = Experience(place)
    for seed in (0, 1):
        assert experience.claim(trial(seed).assignment, "hash-a", f"worker {seed}")
    experience.release("worker 0")
    assert experience.taken() == {trial(1).assignment}


@pytest.mark.slow
def test_processes_that_write_the_same_lose_and_double_nothing(place):
    workers = [PROCESSES.Process(target=write_all, args=(place, f"w{k}", range(40))) for k in range(3)]
    dying = PROCESSES.Process(target=write_all, args=(place, "dying", range(40), 25))
    for process in [*workers, dying]:
        process.start()
    for process in [*workers, dying]:
        process.join()
    assert {process.exitcode for process in workers} == {0}
    time.sleep(0.5)  # the lease of the one that died
    write_all(place, "last", range(40))
    assert seeds_of(place) == list(range(40))
    assert not list(Experience(place).problems())


@pytest.mark.parametrize("milliseconds", quick_of([5, 130], 130))
def test_a_kill_in_the_middle_leaves_whole_trials(place, milliseconds):
    process = PROCESSES.Process(target=write_until_killed, args=(place, "w"))
    process.start()
    while not done(place):
        time.sleep(0.01)
    time.sleep(milliseconds / 1000)
    process.kill()
    process.join()
    experience = Experience(place)
    assert not list(experience.problems())
    found = list(experience.trials())
    assert found
    assert {each.id for each in found} == {trial(each.seed).id for each in found}
    assert experience.add([trial(10**7)]) == 1


@pytest.mark.slow
def test_eight_writers_with_kills(place):
    """Trials of its own each; every writer is killed on its way and started again."""
    for attempt in range(2):
        writers = [
            PROCESSES.Process(target=write_all, args=(place, f"w{k}{attempt}", range(100 * k, 100 * k + 100)))
            for k in range(8)
        ]
        for writer in writers:
            writer.start()
        for number, writer in enumerate(writers, start=1):
            while attempt == 0 and done(place) < 20 * number and writer.is_alive():
                time.sleep(0.05)  # all that are left are writing
            if attempt == 0:
                writer.kill()
            writer.join()
        time.sleep(0.6)  # the leases of those that died
    assert seeds_of(place) == list(range(800))


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE trials SET seed = 7 WHERE seed = 1",
        "UPDATE trials SET cost = 'not json' WHERE seed = 1",
        "UPDATE curves SET value = value + 1e-9 WHERE nimg = 200 AND metric = 'energy'",
        "DELETE FROM curves WHERE nimg = 300",
        """UPDATE recipes SET document = '{"format": 1}'""",
        "UPDATE tasks SET descriptor = '{}'",
    ],
)
def test_damage_is_found(place, damage):
    experience = Experience(place)
    experience.add([trial(1)])
    assert not list(experience.problems())
    with sqlite3.connect(place) as raw:
        raw.execute(damage)
    assert any("not what was written" in problem for problem in experience.problems())


def test_a_file_that_is_no_experience_is_one_sentence(tmp_path):
    path = tmp_path / "notes.db"
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(MulliganError, match=r"notes.db cannot be used: file is not a database"):
        Experience(path)


def test_a_torn_file_is_one_sentence_or_found(place):
    Experience(place).add([trial(seed) for seed in range(50)])
    with sqlite3.connect(place) as raw:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with open(place, "r+b") as file:
        file.truncate(os.path.getsize(place) // 2)
    try:
        found = list(Experience(place).problems())
    except MulliganError as error:
        found = [str(error)]
    assert any("damaged" in problem or "cannot be used" in problem for problem in found)


def test_a_newer_experience_is_refused(place):
    with sqlite3.connect(place) as raw:
        raw.execute("UPDATE about SET version = 99")
    with pytest.raises(MulliganError, match="by a newer version of mulligan"):
        Experience(place)


def test_an_unreachable_or_impossible_url_is_one_sentence():
    for url in ("postgresql://127.0.0.1:1/none", "nonsense://x", "sqlite:////proc/none/x.db"):
        with pytest.raises(MulliganError, match=r"."):
            Experience(url)


def test_a_locked_experience_is_one_sentence(place, monkeypatch):
    monkeypatch.setattr("mulligan.meta.store.connections.PATIENCE_SECONDS", 0.1)
    with sqlite3.connect(place) as raw:
        raw.execute("BEGIN IMMEDIATE")
        with pytest.raises(MulliganError, match="locked"):
            Experience(place)


def test_trials_of_before_embeddings_were_named_keep_theirs(place):
    """As version 1 wrote them: no column, and a digest in which no embedding has a part."""
    experience = Experience(place)
    experience.add([replace(trial(0), embedding="m1"), replace(trial(1), embedding="m9")])
    old, new = (next(each for each in experience.trials() if each.seed == seed) for seed in (0, 1))
    assert "embedding" not in old.to_json()
    assert (old.embedding, new.embedding) == ("m1", "m9")
    assert old.assignment != replace(old, embedding="m9").assignment  # it is to be done again
    with sqlite3.connect(place) as raw:
        raw.execute("DELETE FROM curves WHERE trial = ?", (new.id,))
        raw.execute("DELETE FROM trials WHERE id = ?", (new.id,))
        raw.execute("ALTER TABLE trials DROP COLUMN embedding")
        raw.execute("ALTER TABLE trials DROP COLUMN source")
        raw.execute("ALTER TABLE tasks DROP COLUMN source")
        raw.execute("DROP TABLE sources")
        raw.execute("DROP TABLE runs")
        raw.execute("UPDATE about SET version = 1")
    again = Experience(place)
    assert list(again.trials()) == [old]
    assert list(again.problems()) == []
    assert again.add([new]) == 1


def test_migrations_run_in_order_once_and_whole(place, monkeypatch):
    Experience(place).add([trial(0)])
    ran, next_version = [], schema.VERSION + 1

    def add_column(connection):
        ran.append(next_version)
        connection.execute(text("ALTER TABLE claims ADD COLUMN machine TEXT"))

    def fail(connection):
        connection.execute(text("DROP TABLE claims"))
        raise MulliganError("the second migration failed.")

    monkeypatch.setattr(schema, "VERSION", next_version + 1)
    monkeypatch.setattr(schema, "MIGRATIONS", {next_version: add_column, next_version + 1: fail})
    with pytest.raises(MulliganError, match="second migration"):
        Experience(place)
    monkeypatch.setattr(schema, "VERSION", next_version)
    Experience(place)
    Experience(place)
    assert ran == [next_version, next_version]  # undone with the one that failed, then done for good
    with sqlite3.connect(place) as raw:
        assert raw.execute("SELECT version FROM about").fetchall() == [(next_version,)]
    assert seeds_of(place) == [0]


def test_the_own_place_can_be_set(monkeypatch, tmp_path):
    monkeypatch.setenv("MULLIGAN_EXPERIENCE", str(tmp_path / "deep" / "mine.db"))
    assert Experience().place == own_place() == str(tmp_path / "deep" / "mine.db")
    assert (tmp_path / "deep" / "mine.db").exists()


def test_a_trial_from_json_has_the_same_id():
    assert Trial.from_json(trial(3).to_json()).id == trial(3).id
    assert trial(3).id != trial(4).id
