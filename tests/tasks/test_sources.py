"""Every source that can be read gives the images that were put into it."""

import gzip
import pickle
import struct
import subprocess
import sys
import tarfile
import zipfile

import numpy as np
import pytest
from pictures import DATA, all_images, as_set, encoded, noise, png, write_folder
from PIL import Image

from mulligan.tasks.collection import Collection
from mulligan.tasks.images import read_task
from mulligan.tasks.task import by_class, make_task


def same_images(task, images):
    np.testing.assert_array_equal(all_images(task), images[np.lexsort(images.reshape(len(images), -1).T)])


def pack(path, files):
    """A zip, or a tar compressed as its suffix says, of a dict of names and contents."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return path
    kind = {".tar": "w", ".gz": "w:gz", ".xz": "w:xz", ".txz": "w:xz", ".tbz2": "w:bz2"}[path.suffix]
    loose = path.parent / "loose"
    for name, content in files.items():
        (loose / name).parent.mkdir(parents=True, exist_ok=True)
        (loose / name).write_bytes(content)
    with tarfile.open(path, kind) as archive:
        archive.add(loose, arcname=".")
    return path


@pytest.mark.parametrize("c", [1, 3])
def test_a_folder_of_files(tmp_path, c):
    images = noise(12, 16, 9, c)
    task = read_task(write_folder(tmp_path / "mine", images))
    same_images(task, images)
    assert (task.name, task.shape) == ("mine", (16, 9, c))
    assert task.counts == {"train": 12, "validation": 0, "test": 0}


def test_grey_files_stay_grey_however_they_are_stored(tmp_path):
    images = noise(4, 8, 8, 1)
    write_folder(tmp_path, np.repeat(images, 3, axis=3))
    same_images(read_task(tmp_path), images)
    (tmp_path / "000a.png").write_bytes(png(noise(1, 8, 8)[0]))
    assert read_task(tmp_path).shape == (8, 8, 3)


def test_the_task_does_not_depend_on_names_or_order(tmp_path):
    images = noise(120)
    first = read_task(write_folder(tmp_path / "first", images))
    second = read_task(write_folder(tmp_path / "second", images[::-1]))
    assert first.hash == second.hash
    assert as_set(first.test.images) == as_set(second.test.images)


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz", ".tar.xz", ".tbz2", ".txz"])
def test_archives_agree_with_folders(tmp_path, suffix):
    images = noise(20)
    names = [f"photos/{'cat' if number % 2 else 'dog'}/{number}.png" for number in range(20)]
    folder = read_task(write_folder(tmp_path / "folder", images, names), labels=True)
    files = dict(zip(names, map(png, images), strict=True))
    clutter = {"__MACOSX/photos/._1.png": b"x", "photos/.DS_Store": b"x"}
    archive = read_task(pack(tmp_path / f"packed{suffix}", files | clutter), labels=True)
    assert archive.hash == folder.hash
    assert archive.classes == folder.classes == ("cat", "dog")
    assert archive.notes == folder.notes
    assert archive.name == "packed"


def test_nested_folders_are_classes(tmp_path):
    images = noise(24)
    write_folder(tmp_path, images, [f"{number % 12}/deep/{number}.png" for number in range(24)])
    task = read_task(tmp_path, labels=True)
    assert task.classes == tuple(str(number) for number in range(12))
    owner = {image.tobytes(): number % 12 for number, image in enumerate(images)}
    batch = task.train.take(np.arange(len(task.train)))
    assert [owner[image.tobytes()] for image in batch.images] == batch.labels.tolist()
    assert read_task(tmp_path).classes is None


def test_an_image_outside_of_the_classes_is_left_out_where_classes_are_asked_for(tmp_path):
    images = noise(21)
    write_folder(tmp_path, images, [*(f"{'ab'[number % 2]}/{number}.png" for number in range(20)), "20.png"])
    same_images(read_task(tmp_path), images)
    task = read_task(tmp_path, labels=True)
    same_images(task, images[:20])
    assert "1 image without a class left out." in task.notes


def test_folders_called_like_splits_are_splits(tmp_path):
    images = noise(30)
    part = ["train"] * 20 + ["test"] * 6 + ["val"] * 4
    write_folder(tmp_path, images, [f"{name}/{'ab'[k % 2]}/{k}.png" for k, name in enumerate(part)])
    (tmp_path / "README.md").write_text("mine")
    task = read_task(tmp_path, labels=True)
    assert task.counts == {"train": 20, "validation": 4, "test": 6}
    assert as_set(task.test.images) == as_set(images[20:26])
    assert task.classes == ("a", "b")


def test_mixed_sizes_and_size(tmp_path):
    for number, (h, w) in enumerate([(40, 30), (50, 60), (47, 45)]):
        (tmp_path / f"{number}.png").write_bytes(png(noise(1, h, w)[0]))
    task = read_task(tmp_path)
    assert task.shape == (40, 40, 3)
    assert task.notes[0].startswith("3 images of 30x40 to 60x50: cropped to the centre and resampled to 40x40")
    assert read_task(tmp_path, size=16, fit="pad").shape == (16, 16, 3)


@pytest.mark.parametrize("kind", ["JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000"])
def test_other_formats(tmp_path, kind):
    pictures = [Image.fromarray(image).resize((16, 16)) for image in noise(3, 4, 4)]
    for number, picture in enumerate(pictures):
        (tmp_path / str(number)).write_bytes(encoded(picture, kind))
    found = read_task(tmp_path).train.images.astype(int)
    expected = np.stack([np.asarray(picture, int) for picture in pictures])
    assert np.abs(found - expected).mean() < 25


def test_npz_with_its_splits_and_class_names(tmp_path):
    images, labels = noise(60, 10, 12, 1)[..., 0], np.arange(60) % 3 * 2
    split = np.repeat([0, 1, 2], 20).astype(np.uint8)
    names = np.array(["zero", "one", "two", "three", "four"])
    np.savez(tmp_path / "set.npz", images=images, labels=labels, split=split, label_names=names)
    task = read_task(tmp_path / "set.npz", labels=True)
    assert task.counts == {"train": 20, "validation": 20, "test": 20}
    assert task.classes == ("zero", "two", "four")
    np.testing.assert_array_equal(task.train.images[..., 0], images[:20])
    np.testing.assert_array_equal(task.test.images[..., 0], images[20:40])
    np.testing.assert_array_equal(task.validation.labels, labels[40:] // 2)
    assert (task.name, task.shape) == ("set", (10, 12, 1))


def test_npy_and_arrays(tmp_path):
    images = noise(9, 8, 11)
    np.save(tmp_path / "set.npy", images)
    np.savez(tmp_path / "one.npz", images)
    for source in (tmp_path / "set.npy", tmp_path / "one.npz", images, images.tolist(), str(tmp_path / "set.npy")):
        same_images(read_task(source), images)


@pytest.mark.parametrize(
    ("change", "note"),
    [
        (lambda images: images / 255, "floats in [0, 1] became 0..255."),
        (lambda images: (images / 127.5 - 1).astype(np.float32), "floats in [-1, 1] became 0..255."),
        (lambda images: images.astype(np.uint16) * 257, "16-bit values were scaled to 8 bits."),
        (lambda images: images.astype(np.int64), None),
        (lambda images: images.transpose(0, 3, 1, 2), "the channels came first and were moved last."),
    ],
)
def test_other_dtypes_and_layouts_mean_the_same(change, note):
    images = noise(9)
    images[0, 0, 0, 0], images[0, 0, 0, 1] = 0, 255
    task = read_task(change(images))
    same_images(task, images)
    assert note is None or note in task.notes


def test_booleans_and_opacity():
    bits = noise(9, c=1) > 127
    same_images(read_task(bits), bits.astype(np.uint8) * 255)
    rgba = noise(9, c=4)
    alpha = rgba[..., 3:] / 255
    expected = np.round(rgba[..., :3] * alpha + np.array([9, 99, 199]) * (1 - alpha))
    found = read_task(rgba, background=(9, 99, 199)).train.images.astype(int)
    assert np.abs(found - expected).max() <= 1


def write_idx(path, values):
    header = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
    (gzip.open if path.suffix == ".gz" else open)(path, "wb").write(header + values.tobytes())


@pytest.mark.parametrize(("joint", "suffix"), [("-", ""), (".", ""), ("-", ".gz")])
def test_idx_pairs_up_its_files(tmp_path, joint, suffix):
    images, labels = noise(40, 9, 12, 1)[..., 0], (np.arange(40) % 4).astype(np.uint8)
    for name, part in (("train", slice(0, 30)), ("t10k", slice(30, 40))):
        write_idx(tmp_path / f"{name}-images{joint}idx3-ubyte{suffix}", images[part])
        write_idx(tmp_path / f"{name}-labels{joint}idx1-ubyte{suffix}", labels[part])
    by_folder = read_task(tmp_path, labels=True)
    assert by_folder.counts == {"train": 30, "validation": 0, "test": 10}
    np.testing.assert_array_equal(by_folder.test.images[..., 0], images[30:])
    np.testing.assert_array_equal(by_folder.test.labels, labels[30:])
    by_file = read_task(tmp_path / f"train-images{joint}idx3-ubyte{suffix}", labels=True)
    assert (by_file.hash, by_file.counts) == (by_folder.hash, by_folder.counts)


def cifar_files(images, labels, protocol):
    """Batches as the original: a dict of bytes, rows of 1024 red, 1024 green and 1024 blue values."""
    rows = images.transpose(0, 3, 1, 2).reshape(len(images), 3072)
    batch = {b"data": rows[:20], b"labels": labels[:20].tolist(), b"batch_label": b"1", b"filenames": [b"x"] * 20}
    test = {b"data": rows[20:], b"labels": labels[20:].tolist()}
    meta = {b"label_names": [b"plane", b"car", b"bird"]}
    dumped = {"data_batch_1": batch, "test_batch": test, "batches.meta": meta}
    named = {name: pickle.dumps(content, protocol) for name, content in dumped.items()}
    return {f"cifar-10-batches-py/{name}": content for name, content in named.items()} | {
        "cifar-10-batches-py/readme.html": b"<html>"
    }


@pytest.mark.parametrize("protocol", [2, 5])
@pytest.mark.parametrize("where", ["folder", "cifar.tar.gz", "cifar.zip"])
def test_cifar_batches(tmp_path, protocol, where):
    images, labels = noise(30, 32, 32), np.arange(30) % 3
    files = cifar_files(images, labels, protocol)
    if where == "folder":
        for name, content in files.items():
            (tmp_path / where / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / where / name).write_bytes(content)
    else:
        pack(tmp_path / where, files)
    task = read_task(tmp_path / where, labels=True)
    assert task.classes == ("plane", "car", "bird")
    assert task.counts == {"train": 20, "validation": 0, "test": 10}
    np.testing.assert_array_equal(task.test.images, images[20:])
    np.testing.assert_array_equal(task.test.labels, labels[20:])


def write_parquet(path, images, labels, names=None, outside=None):
    """Encoded images as the datasets library keeps them: in the table, or outside of it in a folder."""
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    cells = [{"bytes": png(image), "path": None} for image in images]
    if outside:
        write_folder(outside, images)
        cells = [{"bytes": None, "path": str(file)} for file in sorted(outside.iterdir())]
    table = arrow.table({"image": cells, "label": list(labels)})
    if names:
        features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": names}}
        import json

        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, path)


def test_a_hugging_face_folder(tmp_path):
    images, labels = noise(30), np.arange(30) % 3
    for name, part in (("train", slice(0, 20)), ("test", slice(20, 30))):
        write_parquet(tmp_path / f"data/{name}-00000-of-00001.parquet", images[part], labels[part], ["x", "y", "z"])
    (tmp_path / "README.md").write_text("a card")
    task = read_task(tmp_path, labels=True)
    assert task.classes == ("x", "y", "z")
    assert task.counts == {"train": 20, "validation": 0, "test": 10}
    np.testing.assert_array_equal(task.test.images, images[20:])
    np.testing.assert_array_equal(task.test.labels, labels[20:])


def test_a_plain_parquet_file(tmp_path):
    images = noise(12)
    write_parquet(tmp_path / "some.parquet", images, np.arange(12) % 2)
    same_images(read_task(tmp_path / "some.parquet"), images)
    assert read_task(tmp_path / "some.parquet", labels=True).classes == ("0", "1")


@pytest.mark.parametrize("outside", [None, "cache"])
def test_the_hub_goes_through_datasets(tmp_path, monkeypatch, outside):
    """With a stand-in for the library, which keeps each split as an arrow table of encoded images."""
    images = noise(30)
    write_parquet(tmp_path / "train.parquet", images, np.arange(30) % 2, ["x", "y"], outside and tmp_path / outside)
    from pyarrow import parquet

    class Part:
        class data:  # noqa: N801
            table = parquet.read_table(tmp_path / "train.parquet")

    class Datasets:
        @staticmethod
        def load_dataset(name):
            assert name == "someone/pictures"
            return {"train": Part}

    monkeypatch.setitem(sys.modules, "datasets", Datasets)
    task = read_task("hf:someone/pictures", labels=True)
    same_images(task, images)
    assert (task.name, task.classes) == ("someone/pictures", ("x", "y"))


def test_by_class_gives_one_task_a_class():
    images, labels = noise(180), (np.arange(180) % 3).astype(np.int32)
    task = make_task("set", Collection(images, labels, classes=("x", "y", "z")), labels=True)
    family = by_class(task)
    assert [member.name for member in family.tasks] == ["set/x", "set/y", "set/z"]
    for label, member in enumerate(family.tasks):
        same_images(member, images[labels == label])
        assert as_set(member.test.images) <= as_set(task.test.images)


def test_to_json_holds_what_a_run_folder_needs():
    document = make_task("set", Collection(noise(200))).to_json()
    assert list(document) == ["name", "hash", "shape", "counts", "classes", "descriptor", "notes"]
    assert document["counts"] == {"train": 160, "validation": 20, "test": 20}
    assert document["shape"] == [10, 10, 3]


def test_a_folder_of_icons():
    """The 72x72 RGBA files, shrunk, look like the same icons shrunk by someone else."""
    path = DATA / "emoji_noto_png.zip"
    if not path.exists():
        pytest.skip(f"{path} is absent")
    task = read_task(path, size=32)
    assert (task.shape, sum(task.counts.values())) == ((32, 32, 3), 1688)
    assert task.notes[0].startswith("1 of 1,689 files skipped: README.txt")
    with np.load(DATA / "emoji_noto.npz", allow_pickle=False) as peer:
        others = peer["images"][~peer["skin_tone_variant"]].astype(np.float32)
    for image in task.test.images[:20].astype(np.float32):
        assert np.abs(others - image).mean(axis=(1, 2, 3)).min() < 4


def test_reading_tasks_imports_no_jax():
    program = "import sys, mulligan.tasks.images as images; images.read_task('digits'); print('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
