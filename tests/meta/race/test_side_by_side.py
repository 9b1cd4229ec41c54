"""Arms that train at the same time: who is killed, and when, changes nothing."""

import dataclasses
import errno
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from races import BUDGET, RECIPES, assert_same, race_in

from mulligan.documents import read_sealed
from mulligan.errors import Interrupted, MulliganError, Terminated
from mulligan.files import locked
from mulligan.meta.race import race as module
from mulligan.meta.race import side_by_side
from mulligan.meta.race.arm_run import ArmSpec, Slice, SliceResult
from mulligan.meta.race.shared_task import is_shareable, share_task
from mulligan.meta.race.side_by_side import KILLS, MEMORY_SHARE, PROCESS_BYTES, ArmProcesses, lanes
from mulligan.meta.space.cost import Footprint
from mulligan.tasks.images import read_task
from mulligan.tasks.streaming import StreamedImages
from mulligan.training.budget import NO_COST, Budget
from mulligan.training.run import RunFolder


@pytest.fixture(scope="module")
def digits():
    return read_task("digits")


@pytest.fixture
def two_lanes(monkeypatch):
    monkeypatch.setattr(module, "lanes", lambda task, footprints: 2)


def _race_on(path: str) -> None:
    """A process that races until it is killed."""
    module.lanes = lambda task, footprints: 2
    race_in(Path(path), read_task("digits")).run()


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals are those of POSIX")
def test_killed_processes_and_a_killed_race_change_nothing(tmp_path, digits, two_lanes):
    whole, killed, told = tmp_path / "whole", tmp_path / "killed", []
    race_in(whole, digits, told.append).run()
    document = read_sealed(whole / "race.json")
    rounds = [decision["arms"] for decision in document["decisions"] if not decision["won"]]
    assert document["lanes"] == 2
    assert {len(arms) for arms in rounds} <= {1, 2}
    assert [len(arms) for arms in rounds[:1]] == [2]
    chunks = [event for event in told if event["kind"] == "chunk"]
    assert {event["arm"] for event in chunks} <= {0, 1, 2}
    assert [event["share"] for event in chunks] == sorted(event["share"] for event in chunks)
    assert not (whole / ".race").exists()

    # The race itself is killed in the middle of a round; its processes end with it.
    going = multiprocessing.get_context("spawn").Process(target=_race_on, args=(str(killed),))
    going.start()
    while not any((killed / "trials").glob("*/checkpoints/*.safetensors")):
        time.sleep(0.05)
    going.kill()
    going.join()

    # Then its processes, one by one.
    race, seen, signals = None, [], iter([signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGKILL])

    def hear(event):
        seen.append(event)
        if event["kind"] == "chunk" and len(seen) % 7 == 0 and (number := next(signals, None)) is not None:
            os.kill(race.processes.running[event["arm"]].pid, number)

    race = race_in(killed, digits, hear)
    race.run()
    assert next(signals, None) is None
    assert_same(killed, whole)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals are those of POSIX")
def test_ctrl_c_saves_every_arm_that_trains(tmp_path, digits, two_lanes):
    chunks = {}

    def hear(event):
        if event["kind"] == "chunk":
            chunks[event["arm"]] = event["nimg"]
        if event["kind"] == "chunk" and len(chunks) == 2 and threading.current_thread() is threading.main_thread():
            signal.raise_signal(signal.SIGINT)

    race = race_in(tmp_path / "run", digits, hear, Budget(2_000_000, None))
    with pytest.raises(Interrupted, match="mulligan resume"):
        race.run()
    assert not race.processes.running
    for number, nimg in chunks.items():
        folder = RunFolder(tmp_path / "run" / "trials" / f"{number:02d}")
        from mulligan.training import checkpoint

        saved, _ = checkpoint.newest(folder.path / "checkpoints")
        assert saved.progress["nimg"] >= nimg


class Told(ArmProcesses):
    """Processes that are none: what each tells when it is asked is given, and how often they were asked is counted."""

    def __init__(self, path, task, *messages, hear=None):
        specs = [ArmSpec(path, number, RECIPES[number], 0, 1.0) for number in range(2)]
        super().__init__(specs, task, 2, hear or (lambda number, event: None))
        self.messages, self.asked = messages, 0

    def _ask(self, number, given, cores):
        self.asked += 1
        self.running[number] = subprocess.Popen([sys.executable, "-c", ""])
        for message in self.messages:
            self._heard.put((number, self.running[number], message))

    def _bury(self, number):
        self.running.pop(number).wait()


SLICE, DONE = Slice(1.0, BUDGET), SliceResult(NO_COST, None)


def test_a_signal_that_comes_with_the_last_result_is_not_lost(tmp_path, digits):
    def hear(number, event):
        signal.raise_signal(signal.SIGTERM)
        processes._heard.put((0, processes.running[0], DONE))

    # Both while an event is passed on, and while the last result is waited for.
    processes = Told(tmp_path, digits, {"kind": "chunk"}, hear=hear)
    with pytest.raises(Terminated):
        processes.train({0: SLICE})
    processes = Told(tmp_path, digits, DONE)
    waited = processes._heard.get
    processes._heard.get = lambda timeout: signal.raise_signal(signal.SIGINT) or waited(timeout=timeout)
    with pytest.raises(Terminated):
        processes.train({0: SLICE})
    processes.close()


def test_an_arm_whose_processes_are_always_killed_is_given_up_after_so_many(tmp_path, digits):
    processes = Told(tmp_path, digits, None)
    assert f"killed {KILLS} times" in processes.train({0: SLICE})[0].ended
    assert processes.asked == KILLS
    assert not processes.running


def test_a_mistake_that_a_process_tells_is_raised_as_it_is(tmp_path, digits):
    processes = Told(tmp_path, digits, MulliganError("another process is training this."))
    with pytest.raises(MulliganError, match=r"^another process is training this\.$"):
        processes.train({0: SLICE})
    processes.close()


def an_arm_process(*sent):
    """The process of an arm, without patience, that is sent bytes and then hears the end; what it told."""
    ours, theirs = multiprocessing.Pipe()
    code = "from mulligan.meta.race import arm_process, arm_run; arm_run.PATIENCE = -1.0; arm_process.main()"
    command = [sys.executable, "-c", code, str(theirs.fileno()), "1"]
    with subprocess.Popen(command, pass_fds=[theirs.fileno()], stderr=subprocess.PIPE, text=True) as process:
        theirs.close()
        for message in sent:
            ours.send_bytes(message)
        told = []
        if sent:
            with suppress(EOFError):
                told.append(ours.recv())
        ours.close()
        said = process.communicate()[1]
    return process.returncode, told, said


@pytest.mark.skipif(os.name != "posix", reason="arms take turns elsewhere")
def test_a_process_that_cannot_go_on_says_why(tmp_path):
    assert an_arm_process() == (0, [], "")
    code, told, said = an_arm_process(b"no message")
    assert (code, told) == (1, [])
    assert "UnpicklingError" in said
    with locked(tmp_path / "lock"):
        what = ArmSpec(tmp_path, 0, RECIPES[0], 0, 1.0), None, tmp_path / "lock", 0.0
        _, [error], said = an_arm_process(pickle.dumps(what))
    assert str(error) == f"another process is training {tmp_path / 'trials' / '00'} now."
    assert said == ""


@pytest.mark.skipif(os.name != "posix", reason="arms take turns elsewhere")
def test_a_large_task_does_not_keep_the_next_process_from_starting(tmp_path, digits, monkeypatch):
    started = subprocess.Popen
    asleep = [sys.executable, "-c", "import time; time.sleep(5)"]
    commands = []
    monkeypatch.setattr(
        side_by_side.subprocess, "Popen", lambda command, **how: commands.append(command) or started(asleep, **how)
    )
    processes = ArmProcesses([ArmSpec(tmp_path, 0, RECIPES[0], 0, 1.0)], digits, 2, lambda number, event: None)
    processes._shared = bytes(2**24)
    processes._ask(0, SLICE, processes.lanes[0])
    assert processes.running[0].poll() is None
    assert commands[0][-1] == str(len(processes.lanes[0]))
    processes.close()


def test_a_full_disk_is_one_sentence(tmp_path, digits, monkeypatch):
    def full(handle, start, size):
        assert size == os.fstat(handle).st_size
        raise OSError(full.reason, os.strerror(full.reason))

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    full.reason = errno.ENOSPC
    with pytest.raises(MulliganError, match=r"train\.npy: No space left"):
        share_task(digits, tmp_path)
    full.reason = errno.EOPNOTSUPP  # the file system cannot say
    np.testing.assert_array_equal(share_task(digits, tmp_path).opened().train.images, digits.train.images)


@pytest.mark.parametrize(("backend", "factor"), [("cpu", 2), ("gpu", 1)])
def test_a_race_that_goes_on_in_turns_gives_out_no_more_than_its_share(
    tmp_path, digits, two_lanes, monkeypatch, backend, factor
):
    race = race_in(tmp_path / "run", digits, budget=Budget(None, 480.0))
    slices = race.document["slices"]
    monkeypatch.setattr(module.jax, "default_backend", lambda: backend)
    assert race._decided()["until"] == [480.0 * module.SHARE * factor / slices] * 2


def test_a_shared_task_is_the_task_and_its_pixels_are_sent_to_nobody(tmp_path):
    task = read_task("digits", labels=True)
    shared = share_task(task, tmp_path / "shared")
    assert len(pickle.dumps(shared)) < sum(part.labels.nbytes for part in (task.train, task.validation)) * 2 + 8192
    opened = pickle.loads(pickle.dumps(shared)).opened()
    for part in ("train", "validation", "test"):
        ours, theirs = getattr(opened, part), getattr(task, part)
        np.testing.assert_array_equal(ours.images, theirs.images)
        np.testing.assert_array_equal(ours.labels, theirs.labels)
    for name in ("name", "shape", "classes", "hash", "descriptor", "class_counts"):
        assert getattr(opened, name) == getattr(task, name)


def test_images_on_the_device_are_those_of_the_file_and_no_copy(tmp_path, digits):
    from mulligan.training.feed import Feed

    opened = share_task(digits, tmp_path).opened()
    data = Feed(opened.train, False, 0, 0).data(0)
    assert data.images.unsafe_buffer_pointer() == opened.train.images.ctypes.data
    np.testing.assert_array_equal(data.images, digits.train.images)


def test_a_streamed_task_is_read_by_each_process(tmp_path):
    from PIL import Image

    for index in range(40):
        pixels = np.random.default_rng(index).integers(0, 255, (8, 8), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
    task = read_task(tmp_path, memory=1)
    opened = pickle.loads(pickle.dumps(share_task(task, tmp_path / "none"))).opened()
    assert is_shareable(task)
    assert not (tmp_path / "none").exists()
    np.testing.assert_array_equal(opened.train.sample(9, 0), task.train.sample(9, 0))


def test_an_array_that_streams_is_read_from_its_file_by_each_process(tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (2000, 8, 8, 1), np.uint8)
    np.save(tmp_path / "x.npy", images)
    task = read_task(tmp_path / "x.npy", memory=1)
    assert not task.train.in_memory
    sent = pickle.dumps(share_task(task, tmp_path / "none"))
    assert len(sent) < images.nbytes
    np.testing.assert_array_equal(pickle.loads(sent).opened().train.sample(9, 0), task.train.sample(9, 0))


def test_what_cannot_be_sent_races_in_turns(digits):
    unsendable = dataclasses.replace(digits.train, whole=StreamedImages((8, 8, 1), lambda index: None, np.arange(9)))
    task = dataclasses.replace(digits, train=unsendable)
    assert not is_shareable(task)
    assert lanes(task, [Footprint(1, 1.0, 1)] * 2) == 1


def test_lanes_follow_cores_arms_and_memory(digits, monkeypatch):
    monkeypatch.setattr("mulligan.meta.race.side_by_side.threads_on", lambda cores: 4)
    monkeypatch.setattr("mulligan.meta.race.side_by_side.memory_bytes", lambda: 4 * PROCESS_BYTES / MEMORY_SHARE)
    small = Footprint(1, 1.0, 1)
    assert [lanes(digits, [small] * arms) for arms in (1, 2, 3)] == [1, 2, 3]
    assert lanes(digits, [small._replace(bytes=2**40)] * 2) == 1
    assert lanes(digits, [small] * 4) == 1
