"""Workers on clusters: they and their nodes may be lost, and every trial is done once."""

import os
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import trials

from mulligan.errors import MulliganError, UsageError
from mulligan.meta.collect import executors
from mulligan.meta.collect import worker as module
from mulligan.meta.collect.executors import Jobs, RayCluster, executor
from mulligan.meta.collect.worker import WorkerConfig, work
from mulligan.meta.experience import Experience
from mulligan.meta.learn import CollectConfig, learn
from mulligan.meta.store import rows
from mulligan.meta.store.record import TaskRecord
from mulligan.tasks.images import read_task


def whole(place, told):
    """Checks that the trials told of were written, and none twice; returns how many there are."""
    found = list(Experience(place).trials())
    assert len({each.assignment for each in found}) == len(found)
    named = {(each.recipe.hash(), each.seed) for each in found}
    trials = [event for event in told if event["kind"] == "trial"]
    assert {(event["recipe"], event["seed"]) for event in trials} <= named
    assert {each.status for each in found} == {"done"}
    return len(trials)


# --- Ray


def a_cluster_that_says(**answers):
    """What stands for Ray where no worker is ever started."""
    exceptions = SimpleNamespace(RayTaskError=RuntimeError, RayError=Exception)
    return SimpleNamespace(init=lambda **_: None, shutdown=lambda: None, exceptions=exceptions, **answers)


def test_several_machines_do_not_write_into_one_file(monkeypatch):
    nodes = [{"NodeManagerHostname": name, "Alive": True} for name in ("one", "two")]
    monkeypatch.setitem(sys.modules, "ray", a_cluster_that_says(nodes=lambda: nodes))
    with pytest.raises(MulliganError, match=r"2 machines .* cannot all write into x\.db.*URL of a database"):
        RayCluster("ray").run(WorkerConfig("x.db", (), 1.0, 1000, None), print)


class Machine:
    """A cluster of two slots whose workers are lost as `fates` says; what it did is counted."""

    def __init__(self, fates, gpus=0):
        self.fates, self.asked, self.options = iter(fates), 0, {}
        self.resources = {"CPU": 2.0, "GPU": float(gpus)}

    def modules(self):
        fake = a_cluster_that_says(nodes=list, put=lambda value: value, cluster_resources=lambda: self.resources)
        fake.exceptions = SimpleNamespace(RayTaskError=WrappedError, RayError=LostError)
        fake.remote = self.noted
        fake.wait = lambda running, timeout: (running[:1], running[1:])
        fake.get = self.answer
        return fake

    def noted(self, **options):
        self.options = options
        return lambda function: SimpleNamespace(remote=self.submitted)

    def submitted(self, shared, seconds):
        self.asked += 1
        return self.asked

    def answer(self, ended):
        fate = next(self.fates, [{"kind": "trial"}])
        if isinstance(fate, Exception):
            raise fate
        return fate


class LostError(Exception):
    """A worker, node or memory that is gone."""


class WrappedError(Exception):
    """An error of the work itself."""

    cause = MulliganError("the experience cannot be read.")


def on(machine, monkeypatch, trials=3):
    told = []
    monkeypatch.setitem(sys.modules, "ray", machine.modules())
    RayCluster("ray").run(WorkerConfig("postgresql://x", (), 60.0, 1000, trials), told.append)
    return told


def test_lost_workers_are_replaced_and_each_does_its_trials(monkeypatch):
    machine = Machine([LostError("a node died")] * 5)
    assert len(on(machine, monkeypatch)) == 2 * 3
    assert machine.asked == 2 * 3 + 5
    assert machine.options["num_gpus"] == 0


def test_workers_that_are_always_lost_end_the_work(monkeypatch):
    assert on(Machine([LostError("memory")] * 1000), monkeypatch) == []


def test_where_there_are_gpus_each_worker_has_one(monkeypatch):
    machine = Machine([], gpus=1)
    assert len(on(machine, monkeypatch)) == 3
    assert machine.options["num_gpus"] == 1


def test_an_error_of_the_work_itself_is_one_sentence(monkeypatch):
    with pytest.raises(MulliganError, match=r"^the experience cannot be read\.$"):
        on(Machine([WrappedError()]), monkeypatch)


@pytest.mark.slow
def test_a_ray_cluster_of_three_nodes_loses_a_worker_and_a_node(tmp_path, monkeypatch):
    ray = pytest.importorskip("ray", reason="the ray extra is not installed")
    from ray.cluster_utils import Cluster  # pyright: ignore[reportMissingImports]

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    place, told = str(tmp_path / "x.db"), []
    try:
        nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
        monkeypatch.setenv("RAY_ADDRESS", cluster.address)

        def lose():
            while not (tmp_path / "x.db").exists() or not Experience(place).taken():
                time.sleep(0.5)
            workers = [path for path in Path("/proc").glob("[0-9]*/cmdline") if b"ray::_one_trial" in path.read_bytes()]
            for path in workers[:1]:
                os.kill(int(path.parent.name), signal.SIGKILL)
            while sum(event["kind"] == "trial" for event in told) < 2:
                time.sleep(0.5)
            cluster.remove_node(nodes[0], allow_graceful=False)

        losing = threading.Thread(target=lose, daemon=True)
        losing.start()
        config = CollectConfig(["digits/1", "digits/2"], 1200.0, place, "ray", 1000, size=8, trials=2)
        done = learn(config, told.append)
        losing.join(10)
        assert not losing.is_alive()
        assert done["trials"] == whole(place, told) == 3 * 2
    finally:
        ray.shutdown()
        cluster.shutdown()


# --- Slurm


def test_jobs_of_slurm_are_named_and_need_a_database():
    assert executor("slurm:4", "postgresql://head/mulligan") == Jobs(4)
    for workers, place, reason in (
        ("slurm:0", "postgresql://head/m", "slurm:N"),
        ("slurm", "postgresql://head/m", "slurm:N"),
        ("slurm:4", "x.db", "cannot write into x.db"),
    ):
        with pytest.raises(UsageError, match=reason):
            executor(workers, place)


def test_without_submitit_it_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(MulliganError, match=r"pip install 'mulligan\[slurm\]'"):
        Jobs(1).run(WorkerConfig("postgresql://x", (), 1.0, 1000, None), print)


class FailedJobError(Exception):
    """What submitit says of a job that failed."""


TRACE = """Job (task=0) failed during processing with trace:
----------------------
Traceback (most recent call last):
  File "executors.py", line 273, in _trials_into
{last}

----------------------
You can check full logs with 'job.stderr(0)' and 'job.stdout(0)'or at paths:
  - /home/me/mulligan-jobs/123_0_log.err
  - /home/me/mulligan-jobs/123_0_log.out
"""


@pytest.mark.parametrize(
    ("last", "said"),
    [
        ("mulligan.errors.MulliganError: x.db: no such table.", r"^x\.db: no such table\.$"),
        ("  | mulligan.errors.MulliganError: x.db: no such table.", r"^a job failed: its log is in .*mulligan-jobs"),
    ],
)
def test_a_job_that_cannot_work_says_why_and_the_others_are_cancelled(tmp_path, monkeypatch, last, said):
    cancelled = []

    def submit(function, config, path):
        number = int(path.stem)
        error = FailedJobError(TRACE.format(last=last))
        cancel = lambda check=True: cancelled.append((number, check))  # noqa: E731
        return Job(number, done=lambda: number == 0, exception=lambda: error, cancel=cancel)

    class Job(SimpleNamespace):
        def __init__(self, number, **answers):
            super().__init__(number=number, **answers)

        __hash__ = object.__hash__

    submits = SimpleNamespace(update_parameters=lambda **_: None, submit=submit)
    core = SimpleNamespace(utils=SimpleNamespace(FailedJobError=FailedJobError))
    fake = SimpleNamespace(AutoExecutor=lambda folder, cluster: submits, core=core)
    monkeypatch.setitem(sys.modules, "submitit", fake)
    monkeypatch.setattr(executors, "POLL_SECONDS", 0.0)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MulliganError, match=said):
        Jobs(3).run(WorkerConfig("postgresql://x", (), 60.0, 1000, None), print)
    assert cancelled == [(1, False), (2, False)]


def test_a_worker_has_as_many_threads_as_its_share_where_no_system_holds_it_there(monkeypatch):
    settled = []
    for asks in ("cores", "device"):
        monkeypatch.setattr(f"mulligan.training.{asks}.PINS", False)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(executors, "settle", settled.append)
    monkeypatch.setattr(executors, "work", lambda *_: None)
    queue = SimpleNamespace(put=None)
    context = SimpleNamespace(Process=lambda target, args, daemon: SimpleNamespace(start=lambda: target(*args)))
    for share in executors.shares(2):
        executors._start(context, queue, WorkerConfig("x.db", (), 1.0, 1000, 1), share)
    assert settled == [2, 2]


@pytest.mark.slow
def test_jobs_share_the_work_and_a_killed_one_is_replaced(tmp_path, monkeypatch):
    pytest.importorskip("submitit", reason="the slurm extra is not installed")
    monkeypatch.chdir(tmp_path)
    task, place, told = read_task("digits/1"), str(tmp_path / "x.db"), []
    Experience(place).add_task(TaskRecord.of(task, "digits"))

    def lose():
        while not Experience(place).taken():
            time.sleep(0.5)
        jobs = [path for path in Path("/proc").glob("[0-9]*/cmdline") if b"submitit.core._submit" in path.read_bytes()]
        os.kill(int(jobs[0].parent.name), signal.SIGKILL)

    threading.Thread(target=lose, daemon=True).start()
    Jobs(2, "local").run(WorkerConfig(place, (task,), 1200.0, 1000, 2), told.append)
    assert whole(place, told) >= 4


# --- claims


def test_a_claim_reads_each_trial_once(tmp_path, monkeypatch):
    task, place, read, made = read_task("digits/1"), str(tmp_path / "x.db"), [], []
    Experience(place).add_task(TaskRecord.of(task, "digits"))

    def tried(claimed):
        made.extend(claimed)
        return [replace(trials.trial(len(made)), task=task.hash) for _ in claimed]

    read_trials = rows.read_trials
    monkeypatch.setattr(rows, "read_trials", lambda connection, ids: read.extend(ids) or read_trials(connection, ids))
    monkeypatch.setattr(module, "run_trials", tried)
    monkeypatch.setattr(module, "cache_programs", lambda: None)
    work(WorkerConfig(place, (task,), 600.0, 1000, 6, members=1), "w", lambda event: None)
    assert len(made) == 6
    assert len(read) == len(set(read)) == 5
