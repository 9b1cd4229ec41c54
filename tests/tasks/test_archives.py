"""Archives as folders: by themselves, and as the shards of one set."""

import io
import tarfile
import zipfile

import numpy as np
import pytest
from pictures import noise, png, write_folder

from mulligan.errors import MulliganError
from mulligan.tasks import read_before
from mulligan.tasks.images import read_task
from mulligan.tasks.pictures import Fitting, read_pictures


def write_tar(path, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def write_zip(path, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def counts_of(task):
    """How many images each class has, in all splits."""
    every = np.concatenate([np.asarray(part.labels) for part in (task.train, task.validation, task.test)])
    return np.bincount(every).tolist()


def images_of(count, seed=0):
    return [png(image) for image in noise(count, seed=seed)]


def as_shards(folder, files, shards=3, name="data-{:04d}.tar"):
    """The files dealt out to shards, each image beside what belongs to it."""
    keys = sorted({key.rpartition(".")[0] for key in files})
    for shard in range(shards):
        own = {key: files[key] for key in sorted(files) if key.rpartition(".")[0] in keys[shard::shards]}
        write_tar(folder / name.format(shard), own)


def test_shards_are_one_set_and_the_same_as_a_folder(tmp_path):
    files = {f"{'ab'[number % 2]}/{number:03d}.png": image for number, image in enumerate(images_of(60))}
    as_shards(tmp_path / "shards", files)
    for name, content in files.items():
        (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / name).write_bytes(content)
    sharded, plain = (read_task(tmp_path / kind, labels=True) for kind in ("shards", "folder"))
    assert (sharded.hash, sharded.classes, sharded.counts) == (plain.hash, ("a", "b"), plain.counts)
    assert "3 archives read as one set." in sharded.notes


def test_shards_whose_images_are_called_alike_all_count(tmp_path):
    for shard in range(3):
        write_zip(tmp_path / f"{shard}.zip", {f"{n}.png": image for n, image in enumerate(images_of(20, seed=shard))})
    assert sum(read_task(tmp_path).counts.values()) == 60


def test_archives_of_other_names_are_classes(tmp_path):
    for seed, name in enumerate(("cats", "dogs-1", "dogs-2")):
        write_zip(tmp_path / f"{name}.zip", {f"{n}.png": image for n, image in enumerate(images_of(20, seed=seed))})
    (tmp_path / "README.md").write_text("Cats, and dogs in two parts.")
    task = read_task(tmp_path, labels=True)
    assert task.classes == ("cats", "dogs")
    assert counts_of(task) == [20, 40]


def test_archives_that_are_called_like_splits_are_splits(tmp_path):
    counts = {"set-train-0": 40, "set-train-1": 40, "set-val-0": 25, "set-test-0": 30}
    for seed, (name, count) in enumerate(counts.items()):
        write_tar(tmp_path / f"{name}.tar", {f"{n}.png": image for n, image in enumerate(images_of(count, seed=seed))})
    assert read_task(tmp_path).counts == {"train": 80, "validation": 25, "test": 30}


def test_classes_in_files_of_their_own(tmp_path):
    files = {}
    for number, image in enumerate(images_of(60)):
        files |= {f"{number:03d}.png": image, f"{number:03d}.cls": f"{number % 3}\n".encode()}
        files |= {f"{number:03d}.json": b'{"key": 1}'}
    as_shards(tmp_path, files)
    task = read_task(tmp_path, labels=True)
    assert task.classes == ("0", "1", "2")
    assert counts_of(task) == [20, 20, 20]
    assert "classes are those in the .cls files." in task.notes


def test_a_table_beside_archives(tmp_path):
    for shard in range(2):
        names = [f"{number}.png" for number in range(30 * shard, 30 * shard + 30)]
        write_zip(tmp_path / f"part{shard}.zip", dict(zip(names, images_of(30, seed=shard), strict=True)))
    rows = "".join(f"{number}.png,{'ab'[number % 2]}\n" for number in range(60))
    (tmp_path / "labels.csv").write_text(f"file_name,label\n{rows}")
    task = read_task(tmp_path, labels=True)
    assert (task.classes, counts_of(task)) == (("a", "b"), [30, 30])
    assert "classes are those in labels.csv." in task.notes


def test_an_image_without_its_class_is_told_of_and_left_out(tmp_path):
    files = {}
    for number, image in enumerate(images_of(60)):
        files |= {f"{number:03d}.png": image, f"{number:03d}.cls": b"ab"[number % 2 :][:1]}
    files["007.cls"] = b"\xff\xfe"
    write_tar(tmp_path / "one.tar", files)
    task = read_task(tmp_path / "one.tar", labels=True)
    assert (task.classes, sum(task.counts.values())) == (("a", "b"), 59)


@pytest.mark.parametrize("kept", [0, 1000, 5820])
@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_a_shard_that_was_cut_off_is_named_and_nothing_is_read(tmp_path, write, kept):
    suffix = write.__name__[-3:]
    for seed in range(2):
        write(tmp_path / f"{seed}.{suffix}", {f"{n}.png": image for n, image in enumerate(images_of(20, seed))})
    damaged = tmp_path / f"1.{suffix}"
    damaged.write_bytes(damaged.read_bytes()[:kept])
    with pytest.raises(MulliganError, match=rf"1\.{suffix} cannot be read as a"):
        read_task(tmp_path)


@pytest.mark.parametrize("of_header", [0, 100])
def test_a_tar_that_was_cut_off_between_two_files_is_told_of(tmp_path, of_header):
    write_tar(tmp_path / "a.tar", {f"{n}.png": image for n, image in enumerate(images_of(40))})
    whole = read_task(tmp_path / "a.tar")
    (tmp_path / "a.tar").write_bytes((tmp_path / "a.tar").read_bytes()[: 30 * 1024 + of_header])  # a kilobyte each
    cut = read_task(tmp_path / "a.tar")
    note = "a.tar has no end: some of its files may be missing."
    assert (sum(cut.counts.values()), note in cut.notes, note in whole.notes) == (30, True, False)


def test_an_archive_beside_images_is_skipped_as_before(tmp_path):
    write_folder(tmp_path, noise(30))
    write_zip(tmp_path / "copies.zip", {f"{n}.png": image for n, image in enumerate(images_of(20, seed=1))})
    task = read_task(tmp_path)
    assert sum(task.counts.values()) == 30
    assert any("1 of 31 files skipped: copies.zip" in note for note in task.notes)


def test_shards_that_were_read_before_are_not_opened_again(tmp_path, monkeypatch):
    monkeypatch.setenv("MULLIGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(read_before, "SLOW_SECONDS", 0.0)
    monkeypatch.setattr(read_before, "DISK_SHARE", 0.5)
    as_shards(tmp_path / "shards", {f"{n:03d}.png": image for n, image in enumerate(images_of(60))})
    first = read_task(tmp_path / "shards")
    with monkeypatch.context() as closed:
        closed.setattr("mulligan.tasks.images.open_shards", lambda *_: pytest.fail("the shards were opened again"))
        assert read_task(tmp_path / "shards").hash == first.hash
    write_tar(tmp_path / "shards/data-0003.tar", {"new.png": images_of(1, seed=9)[0]})
    assert sum(read_task(tmp_path / "shards").counts.values()) == 61


def test_pictures_of_an_archive(tmp_path):
    write_zip(tmp_path / "a.zip", {f"{n}.png": image for n, image in enumerate(images_of(4))})
    assert read_pictures(tmp_path / "a.zip", Fitting((10, 10, 3)), 8)[1].shape == (4, 10, 10, 3)
