"""Classes and splits from a table beside the images."""

import json
import zipfile

import numpy as np
import pytest
from pictures import noise, png, write_folder

from mulligan.errors import MulliganError, UsageError
from mulligan.tasks.images import read_task

NAMES = [f"{number // 20:05d}/img{number:08d}.png" for number in range(60)]


def folder(tmp_path, names, tables):
    write_folder(tmp_path, noise(len(names)), names)
    for name, content in tables.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return tmp_path


def labels_of(task, images):
    """The class of each image, by its pixels."""
    owner = {}
    for part in (task.train, task.validation, task.test):
        batch = part.take(np.arange(len(part)))
        names = [task.classes[label] for label in batch.labels]
        owner |= dict(zip([image.tobytes() for image in batch.images], names, strict=True))
    return [owner.get(image.tobytes()) for image in images]


def rows(names, separator=",", head="file_name,label"):
    return "\n".join([head, *(f"{name}{separator}{'xy'[number % 2]}" for number, name in enumerate(names))])


FLAT = [f"{number}.png" for number in range(60)]
STEMS = [name.removesuffix(".png") for name in FLAT]


@pytest.mark.parametrize(
    ("names", "tables"),
    [
        (FLAT, {"metadata.csv": rows(FLAT)}),
        (FLAT, {"labels.csv": rows(FLAT, head="filename,class")}),
        (FLAT, {"labels.csv": rows(STEMS, head="id,breed")}),
        (FLAT, {"labels.tsv": rows(FLAT, "\t", "image\tcategory")}),
        (FLAT, {"labels.csv": rows(FLAT, ";", "image;label")}),
        (FLAT, {"labels.csv": "\n".join(rows(FLAT).splitlines()[1:])}),
        (FLAT, {"LABELS.CSV": b"\xef\xbb\xbf" + rows(FLAT).encode()}),
        (FLAT, {"labels.csv": rows(FLAT).encode("utf-16")}),
        (FLAT, {"labels.csv": rows([f"C:\\photos\\{name}" for name in FLAT])}),
        (FLAT, {"train.csv": rows(FLAT, head="Image,Target")}),
        (FLAT, {"labels.json": json.dumps({name: "xy"[number % 2] for number, name in enumerate(FLAT)})}),
        (
            [f"train/{name}" for name in FLAT],
            {
                "train/metadata.jsonl": "\n".join(
                    json.dumps({"file_name": n, "label": "xy"[k % 2]}) for k, n in enumerate(FLAT)
                )
            },
        ),
        ([f"images/{name}" for name in FLAT], {"labels.csv": rows([f"images/{name}" for name in FLAT])}),
        ([f"images/{name}" for name in FLAT], {"labels.csv": rows(FLAT)}),
        (NAMES, {"dataset.json": json.dumps({"labels": [[n, "xy"[k % 2]] for k, n in enumerate(NAMES)]})}),
        (NAMES, {"labels.csv": rows(NAMES)}),  # over the folders that they lie in
    ],
)
def test_classes_of_a_table(tmp_path, names, tables):
    task = read_task(folder(tmp_path, names, tables), labels=True)
    assert task.classes == ("x", "y")
    assert labels_of(task, noise(60)) == ["xy"[number % 2] for number in range(60)]
    assert any(note.startswith("classes are those in ") for note in task.notes)
    assert not any("skipped" in note for note in task.notes)


def test_stylegans_archives(tmp_path):
    for name, labels in (("numbers", [[n, k % 2] for k, n in enumerate(NAMES)]), ("none", None)):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            for image, path in zip(noise(60), NAMES, strict=True):
                archive.writestr(path, png(image))
            archive.writestr("dataset.json", json.dumps({"labels": labels}))
    assert read_task(tmp_path / "numbers.zip", labels=True).classes == ("0", "1")
    assert len(read_task(tmp_path / "none.zip").train) == 60
    with pytest.raises(UsageError, match=r"dataset\.json holds no classes"):
        read_task(tmp_path / "none.zip", labels=True)


def test_one_hot_labels_and_several_labels(tmp_path):
    hot = {"labels": [[name, [1, 0] if number % 2 else [0, 1]] for number, name in enumerate(FLAT)]}
    assert read_task(folder(tmp_path / "hot", FLAT, {"dataset.json": json.dumps(hot)}), labels=True).classes == (
        "0",
        "1",
    )
    several = {"labels": [[name, [1, 1]] for name in FLAT]}
    with pytest.raises(UsageError, match="holds no classes"):
        read_task(folder(tmp_path / "several", FLAT, {"dataset.json": json.dumps(several)}), labels=True)


def test_splits_of_a_table(tmp_path):
    parts = ["train"] * 30 + ["valid"] * 10 + ["test"] * 20
    table = "\n".join(["path,split", *(f"{name},{part}" for name, part in zip(FLAT, parts, strict=True))])
    task = read_task(folder(tmp_path, FLAT, {"list.csv": table}))
    assert task.counts == {"train": 30, "validation": 10, "test": 20}
    np.testing.assert_array_equal(np.sort(task.test.images.ravel()), np.sort(noise(60)[40:].ravel()))


def test_tables_that_are_of_something_else_are_left_alone(tmp_path):
    other = {
        "results.csv": "epoch,loss\n1,2\n2,1",
        "notes.json": "{",
        "deep.json": "[" * 100_000,
        "binary.csv": b"\xff\x00",
    }
    names = [f"{'ab'[number % 2]}/{number}.png" for number in range(60)]
    task = read_task(folder(tmp_path, names, other), labels=True)
    assert task.classes == ("a", "b")


def test_captions_are_no_classes(tmp_path):
    table = "\n".join(["file_name,text", *(f"{name},a picture" for name in FLAT)])
    task = read_task(folder(tmp_path, FLAT, {"metadata.csv": table}))
    assert "metadata.csv names the images, but no classes: its columns are file_name, text." in task.notes
    with pytest.raises(UsageError, match="has no labels"):
        read_task(tmp_path, labels=True)


def test_a_class_for_each_image_is_no_class(tmp_path):
    table = "\n".join(["file_name,label", *(f"{name},{name}" for name in FLAT)])
    with pytest.raises(UsageError, match="every image has a class of its own"):
        read_task(folder(tmp_path, FLAT, {"labels.csv": table}), labels=True)


def test_images_that_a_table_leaves_out(tmp_path):
    folder(tmp_path, FLAT, {"labels.csv": rows(FLAT[:57])})
    task = read_task(tmp_path, labels=True)
    assert sum(task.counts.values()) == 57
    assert "3 images without a class left out." in task.notes
    assert sum(read_task(tmp_path).counts.values()) == 60
    (tmp_path / "labels.csv").write_text(rows(FLAT[:40]))
    with pytest.raises(MulliganError, match="20 of 60 training images have no class"):
        read_task(tmp_path, labels=True)


def test_tables_that_contradict_each_other(tmp_path):
    """On classes they stop nobody who asked for none; on splits they are refused."""
    wrong = rows(FLAT[1:] + FLAT[:1])
    folder(tmp_path, FLAT, {"labels.csv": rows(FLAT), "metadata.csv": wrong})
    assert sum(read_task(tmp_path).counts.values()) == 60
    with pytest.raises(UsageError, match=r"labels\.csv and metadata\.csv contradict each other"):
        read_task(tmp_path, labels=True)
    for name, part in (("labels", "train"), ("metadata", "test")):
        (tmp_path / f"{name}.csv").write_text("\n".join(["file,split", *(f"{image},{part}" for image in FLAT)]))
    with pytest.raises(MulliganError, match="in the split of an image: keep one of them"):
        read_task(tmp_path)


def test_groups_of_a_table(tmp_path):
    names = [f"{number}.png" for number in range(200)]
    table = "\n".join(["file,patient", *(f"{name},p{number // 4}" for number, name in enumerate(names))])
    folder(tmp_path, names, {"labels.csv": table})
    task = read_task(tmp_path, groups="patient")
    patient = {image.tobytes(): number // 4 for number, image in enumerate(noise(200))}
    parts = [{patient[image.tobytes()] for image in part.images} for part in (task.train, task.validation, task.test)]
    assert not parts[0] & parts[1]
    assert not parts[0] & parts[2]
    assert not parts[1] & parts[2]
    assert "split by 50 groups by patient, the largest of 4 images." in task.notes
    with pytest.raises(UsageError, match="tells nothing of groups called 'doctor'"):
        read_task(tmp_path, groups="doctor")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metadata.jsonl", b'{"file_name": "0.png", "label": "a"}\n{oops\n'),
        ("dataset.json", b'{"labels": [["0.png", 1]'),
        ("labels.csv", b"\xff\xfe\x00"),
    ],
)
def test_a_damaged_table_is_told_of(tmp_path, name, content):
    folder(tmp_path, [f"{index}.png" for index in range(30)], {name: content})
    assert any(f"{name} cannot be read" in note for note in read_task(tmp_path).notes)
    with pytest.raises(MulliganError, match=f"no labels to use: {name} cannot be read"):
        read_task(tmp_path, labels=True)
