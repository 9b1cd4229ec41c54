"""Many writers of one experience in a real PostgreSQL at the same instant: a throwaway cluster, where installed."""

import os
import shutil
import socket
import subprocess
import tempfile
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from trials import some, task, trial

from mulligan.errors import MulliganError
from mulligan.meta.experience import Experience, take
from mulligan.meta.store.connections import without_password
from mulligan.meta.store.exchange import write_file
from mulligan.meta.store.record import Records

pytest.importorskip("psycopg")
WRITERS = 8
INSTALLED = sorted(path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb"))


def own(*command: str, **options) -> None:
    """Runs a program of PostgreSQL, which refuses to be run by root."""
    user = "postgres" if os.geteuid() == 0 else None
    subprocess.run(command, check=True, capture_output=True, user=user, cwd="/", **options)


@pytest.fixture(scope="module")
def cluster():
    """A URL of the cluster, without a database."""
    if not INSTALLED:
        pytest.skip("needs PostgreSQL (Debian's package `postgresql`)")
    programs, folder = INSTALLED[-1], Path(tempfile.mkdtemp(prefix="mulligan-pg-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = str(folder / "data")
    own(str(programs / "initdb"), "-D", data, "-U", "ada", "--auth=trust", "--no-sync")
    server = f"-c listen_addresses=127.0.0.1 -c port={port} -c fsync=off -c unix_socket_directories={folder}"
    own(str(programs / "pg_ctl"), "-D", data, "-o", server, "-l", str(folder / "log"), "-w", "start")
    yield f"postgresql+psycopg://ada:secret@127.0.0.1:{port}", programs, port
    own(str(programs / "pg_ctl"), "-D", data, "-m", "immediate", "stop")
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def place(cluster, request):
    """The URL of an empty database."""
    url, programs, port = cluster
    name = f"of_{abs(hash(request.node.name))}"
    own(str(programs / "createdb"), "-h", "127.0.0.1", "-p", str(port), "-U", "ada", name)
    return f"{url}/{name}"


def together(*calls):
    """What calls return that begin at the same instant; raises what any of them raises."""
    barrier, results, errors = threading.Barrier(len(calls)), [None] * len(calls), []

    def run(index, call):
        barrier.wait()
        try:
            results[index] = call()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results


def test_first_opens_make_the_tables_once(place):
    opened = together(*[lambda: Experience(place)] * WRITERS)
    assert all(experience.tasks() == [] for experience in opened)


def test_one_of_many_adds_a_task_and_a_trial(place):
    experience = Experience(place)
    for number in range(5):
        together(*[lambda: experience.add_task(task())] * WRITERS)
        assert sorted(together(*[partial(experience.add, [trial(number)])] * WRITERS)) == [0] * 7 + [1]
    assert len(experience.tasks()) == 1
    assert [each.seed for each in sorted(experience.trials(), key=lambda each: each.seed)] == list(range(5))
    assert not list(experience.problems())


def test_trials_of_one_new_recipe_finish_at_the_same_instant(place):
    experience = Experience(place)
    experience.add_task(task())
    for number in range(5):
        batch = [
            replace(trial(WRITERS * number + k), recipe_json={**trial(0).recipe_json, "batch": 100 + number})
            for k in range(WRITERS)
        ]
        for k, each in enumerate(batch):
            assert experience.claim(each.assignment, each.task, f"w{k}")
        finishing = [partial(experience.finish, each, each.assignment, f"w{k}") for k, each in enumerate(batch)]
        assert all(together(*finishing))
    assert len(list(experience.trials())) == 5 * WRITERS


def test_one_of_many_claims_an_assignment(place):
    experience = Experience(place)
    experience.add_task(task())
    for number in range(5):
        claiming = [partial(experience.claim, f"a{number}", "hash-a", f"w{k}") for k in range(WRITERS)]
        assert sum(together(*claiming)) == 1


def test_no_message_holds_the_password(place):
    wrong = place.replace("of_", "nothing_of_")
    with pytest.raises(MulliganError) as error:
        Experience(wrong)
    assert "secret" not in str(error.value)
    assert without_password(wrong) in str(error.value)


def test_imports_of_the_same_at_the_same_instant_are_taken_once_and_can_be_removed(place, tmp_path):
    experience, paths = Experience(place), []
    for number, seeds in enumerate((range(20), range(10, 30))):
        paths.append(str(tmp_path / f"{number}.jsonl.gz"))
        write_file(Path(paths[-1]), some(seeds, "ab"))
    taking = [partial(take, Experience(place), [path], f"s{k}") for path in paths for k in range(WRITERS // 2)]
    new = [added for [(_, added, _)] in together(*taking)]
    assert sum(new) == 60 == len(experience.records().trials)
    with pytest.raises(MulliganError, match="nothing of the kind"):
        experience.remove(source="nobody")
    removed = [experience.remove(source=name) for name in experience.sources() if _has_trials(experience, name)]
    assert sum(gone.trials for gone in removed) == 60
    assert experience.records() == Records({}, {})
    assert not list(experience.problems())


def _has_trials(experience, source):
    return any(each.source == source for each in experience.trials())


def test_tables_of_the_second_version_get_sources(place):
    experience = Experience(place)
    experience.add_task(task())
    experience.add([trial(1)])
    with experience._writing() as connection:
        connection.exec_driver_sql("ALTER TABLE trials DROP COLUMN source")
        connection.exec_driver_sql("ALTER TABLE tasks DROP COLUMN source")
        connection.exec_driver_sql("DROP TABLE sources")
        connection.exec_driver_sql("DROP TABLE runs")
        connection.exec_driver_sql("UPDATE about SET version = 2")
    assert [each.source for each in Experience(place).trials()] == ["here"]
    assert Experience(place).sources() == {}
