"""TensorBoard files, read back record by record."""

import struct
import sys

import numpy as np
import pytest

from mulligan.errors import MulliganError
from mulligan.events import ChunkTrained
from mulligan.report.follow import write_curves
from mulligan.report.run import read_run
from mulligan.report.tensorboard import opening

pytest.importorskip("tensorboardX", reason="the tensorboard extra is not installed")


def summaries(folder):
    """(step, tag, value) of every entry in the event files of a folder."""
    from tensorboardX.proto.event_pb2 import Event

    for path in folder.iterdir():
        content, at = path.read_bytes(), 0
        while at < len(content):
            (length,) = struct.unpack_from("<Q", content, at)
            event = Event.FromString(content[at + 12 : at + 12 + length])
            at += 12 + length + 4
            for value in event.summary.value:
                yield event.step, value.tag, value


def written(run, folder):
    write_curves(run, "tensorboard", str(folder))
    return list(summaries(folder))


def test_scalars_are_the_kept_events(light, tmp_path):
    found = written(light, tmp_path / "tb")
    kept = read_run(light).kept(ChunkTrained)
    losses = [(step, value.simple_value) for step, tag, value in found if tag == "train/gen_loss"]
    assert [step for step, _ in losses] == [event.nimg for event in kept]
    np.testing.assert_allclose([value for _, value in losses], [event.gen_loss for event in kept], rtol=1e-6)
    tags = {tag.split("/text_summary")[0] for _, tag, _ in found}
    assert {"validation/ema/kid", "test/power_10/precision", "hyperparameters/gamma", "samples", "guard"} <= tags


def test_writing_again_replaces(light, tmp_path):
    first = len(written(light, tmp_path / "tb"))
    assert len(written(light, tmp_path / "tb")) == first


def test_what_is_gone_back_over_is_forgotten(light, tmp_path):
    from tensorboardX.proto.event_pb2 import Event as Record
    from tensorboardX.proto.event_pb2 import SessionLog

    record = read_run(light)
    log = opening(str(tmp_path / "tb"))(record)
    for event in record.kept(ChunkTrained)[:3]:
        log.add(record, event)
    log.back_to(record.kept(ChunkTrained)[1].nimg)
    log.add(record, record.kept(ChunkTrained)[2])
    log.close(failed=False)
    found = []
    for path in sorted((tmp_path / "tb").iterdir()):
        content, at = path.read_bytes(), 0
        while at < len(content):
            (length,) = struct.unpack_from("<Q", content, at)
            found.append(Record.FromString(content[at + 12 : at + 12 + length]))
            at += 12 + length + 4
    purged = [record.step for record in found if record.session_log.status == SessionLog.START]
    assert purged == [record.kept(ChunkTrained)[1].nimg + 1]


def test_a_damaged_picture_is_left_out(light, tmp_path):
    for path in (light / "samples").glob("*.png"):
        path.write_bytes(b"\x89PNG")
    tags = {tag for _, tag, _ in written(light, tmp_path / "tb")}
    assert "samples" not in tags
    assert "train/gen_loss" in tags


def test_without_tensorboardx_the_error_says_what_to_install(light, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(MulliganError, match=r"pip install 'mulligan\[tensorboard\]'"):
        write_curves(light, "tensorboard", str(tmp_path / "tb"))
