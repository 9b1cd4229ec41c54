"""Arms of a race on a cluster: workers and nodes may be lost, and nothing is lost with them, or done twice."""

import os
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from races import RECIPES, assert_same, race_in

from mulligan.documents import read_sealed
from mulligan.errors import MulliganError, Terminated
from mulligan.meta.race import on_cluster
from mulligan.meta.race import race as module
from mulligan.meta.race.arm_run import ArmSpec, Slice, SliceResult
from mulligan.meta.race.on_cluster import ArmActor, ArmActors
from mulligan.meta.race.shared_task import SharedTask
from mulligan.meta.race.side_by_side import KILLS
from mulligan.tasks.images import read_task
from mulligan.training.budget import Budget


@pytest.fixture(scope="module")
def digits():
    return read_task("digits")


class LostError(Exception):
    """A worker, a node, or memory that is gone."""


class WrappedError(Exception):
    """An error of the work itself."""

    def __init__(self, cause):
        self.cause = cause


class KilledError(BaseException):
    """In the place of a signal that no program hears."""


class Dying(list):
    """What an actor tells; it dies with the event at which the cluster says so."""

    def __init__(self, cluster):
        self.cluster = cluster

    def append(self, event):
        self.cluster.events += event["kind"] == "chunk"
        if event["kind"] == "chunk" and self.cluster.events in self.cluster.deaths:
            raise KilledError
        super().append(event)

    def popleft(self):
        return self.pop(0)


class Answer:
    """What an actor was asked and has not answered yet."""

    def __init__(self, actor, given):
        self.actor, self.given = actor, given


class Cluster:
    """What stands for Ray: actors in this process, of which as many are there at a time as it has places.

    Args:
      deaths: numbers of the chunks at which the actor that trains dies.
    """

    def __init__(self, cores, deaths=()):
        self.cores, self.deaths, self.events = cores, deaths, 0
        self.actors, self.most, self.begun, self.options = [], 0, 0, {}
        self.exceptions = SimpleNamespace(RayTaskError=WrappedError, RayError=LostError)

    def init(self, **_):
        assert not self.actors

    def shutdown(self):
        assert not self.actors

    put = staticmethod(lambda value: value)

    def cluster_resources(self):
        return {"CPU": float(self.cores)}

    def available_resources(self):  # as Ray's, without those that are used up
        placed = min(len(self.actors), self.cores)
        return {"CPU": float(self.cores - placed)} if placed < self.cores else {}

    def remote(self, **options):
        self.options = options
        return lambda cls: SimpleNamespace(remote=lambda *what: self.began(cls, what))

    def began(self, cls, what):
        made = SimpleNamespace(cls=cls, what=what, actor=None)
        made.train = SimpleNamespace(remote=lambda given: Answer(made, given))
        self.actors.append(made)
        return made

    def wait(self, asked, timeout):
        placed = self.actors[: self.cores]
        ready = [answer for answer in asked if answer.actor in placed]
        assert ready, "all wait for a place"
        self.most = max(self.most, len(self.actors))
        return ready[:1], ready[1:]

    def get(self, answer):
        made, given = answer.actor, answer.given
        if made.actor is None:
            self.begun += 1
            made.actor = made.cls(*made.what)
            made.actor._told = Dying(self)
        try:
            return made.actor.train(given)
        except KilledError as error:
            raise LostError("a node died") from error
        except Exception as error:
            raise WrappedError(error) from error

    def kill(self, made):
        self.actors.remove(made)
        if made.actor is not None:
            made.actor._held.close()  # as the system does for whoever has ended


@pytest.fixture
def joined(monkeypatch):
    """Has mulligan find this cluster where it looks for Ray."""
    monkeypatch.setattr(on_cluster, "settle", lambda cores: None)
    monkeypatch.setattr(os, "chdir", lambda folder: None)

    def join(cluster):
        monkeypatch.setitem(sys.modules, "ray", cluster)
        return cluster

    return join


@pytest.mark.slow
def test_actors_that_die_in_the_middle_of_slices_change_nothing(tmp_path, digits, joined, monkeypatch):
    monkeypatch.setattr(module, "ROUNDS", 4)
    whole, told = joined(Cluster(3)), []
    race_in(tmp_path / "whole", digits, told.append, workers="ray").run()
    document = read_sealed(tmp_path / "whole" / "race.json")
    assert (document["lanes"], document["workers"]) == (3, "ray")
    assert {len(decision["arms"]) for decision in document["decisions"] if not decision["won"]} <= {1, 2, 3}
    assert whole.most == 3 <= whole.begun  # an idle actor may make room for one that is slow to begin
    assert {event["arm"] for event in told if event["kind"] == "chunk"} == {0, 1, 2}
    assert not (tmp_path / "whole" / ".race").exists()

    # The same number of lanes on what becomes a cluster of two places, at three chunks of which an actor dies.
    lossy = joined(Cluster(3, deaths={2, 5, 8}))
    race = race_in(tmp_path / "lossy", digits, workers="ray")
    lossy.cores = 2
    race.run()
    assert lossy.begun > 3 + len(lossy.deaths)
    assert_same(tmp_path / "lossy", tmp_path / "whole")


def slices_of(path, digits, cluster, hear=lambda number, event: None):
    """Actors of two arms whose training is replaced, and a slice of each."""
    specs = [ArmSpec(path, number, RECIPES[number], 0, 1.0) for number in range(2)]
    return ArmActors(specs, digits, "ray", hear), {number: Slice(1.0, Budget(1000, None)) for number in range(2)}


def test_an_arm_whose_workers_are_always_lost_is_given_up_after_so_many(tmp_path, digits, joined, monkeypatch):
    def die(self, given):
        lost[self.spec.number] += 1
        raise KilledError

    lost, cluster = Counter(), joined(Cluster(1))
    monkeypatch.setattr(ArmActor, "_train", die)
    actors, slices = slices_of(tmp_path, digits, cluster)
    results = actors.train(slices)
    assert [results[number].ended for number in slices] == 2 * [f"its worker was lost {KILLS} times: a node died"]
    assert lost == {0: KILLS, 1: KILLS}
    actors.close()
    assert cluster.options == {"num_cpus": 1, "num_gpus": 0}


def test_a_node_that_does_not_see_the_run_is_told_of_in_one_sentence(tmp_path, digits, joined):
    actors, slices = slices_of(tmp_path, digits, joined(Cluster(2)))
    with pytest.raises(MulliganError, match=r"does not see .*: choose an `out` that all nodes share\.$"):
        actors.train(slices)
    actors.close()


def test_a_slice_that_was_asked_for_twice_is_trained_once(tmp_path, digits, joined, monkeypatch):
    def train(self, given):
        trained.append(given)
        return SliceResult(None, str(given.until))

    trained = []
    monkeypatch.setattr(ArmActor, "_train", train)
    actor = ArmActor(ArmSpec(tmp_path, 0, RECIPES[0], 0, 1.0), SharedTask(digits, {}), tmp_path / "lock", str(tmp_path))
    first, second = (Slice(until, Budget(1000, None)) for until in (1.0, 2.0))
    assert [actor.train(given)[1].ended for given in (first, first, second)] == ["1.0", "1.0", "2.0"]
    assert trained == [first, second]


def test_a_signal_ends_the_actors(tmp_path, digits, joined, monkeypatch):
    cluster = joined(Cluster(2))
    race = race_in(tmp_path / "run", digits, workers="ray")
    monkeypatch.setattr(cluster, "wait", lambda asked, timeout: (_ for _ in ()).throw(Terminated(signal.SIGTERM)))
    with pytest.raises(Terminated, match="mulligan resume"):
        race.run()
    assert not cluster.actors


@pytest.mark.slow
def test_a_race_on_three_nodes_loses_a_worker_and_a_node(tmp_path, digits, monkeypatch):
    ray = pytest.importorskip("ray", reason="the ray extra is not installed")
    from ray.cluster_utils import Cluster as LocalCluster  # pyright: ignore[reportMissingImports]

    monkeypatch.setattr(module, "ROUNDS", 4)
    monkeypatch.setattr(module, "lanes", lambda task, footprints: 3)
    race_in(tmp_path / "here", digits).run()
    cluster = LocalCluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    chunks, lost = [], []
    try:
        nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
        monkeypatch.setenv("RAY_ADDRESS", cluster.address)

        def lose():
            while len(chunks) < 4:
                time.sleep(0.1)
            workers = [path for path in Path("/proc").glob("[0-9]*/cmdline") if b"ray::ArmActor" in path.read_bytes()]
            os.kill(int(workers[0].parent.name), signal.SIGKILL)
            lost.append("worker")
            while len(chunks) < 9:
                time.sleep(0.1)
            cluster.remove_node(nodes[0], allow_graceful=False)
            lost.append("node")

        losing = threading.Thread(target=lose, daemon=True)
        losing.start()
        hear = lambda event: chunks.append(event["arm"]) if event["kind"] == "chunk" else None  # noqa: E731
        race_in(tmp_path / "cluster", digits, hear, workers="ray").run()
        assert lost == ["worker", "node"]
        assert read_sealed(tmp_path / "cluster" / "race.json")["lanes"] == 3
        assert_same(tmp_path / "cluster", tmp_path / "here")
    finally:
        ray.shutdown()
        cluster.shutdown()
