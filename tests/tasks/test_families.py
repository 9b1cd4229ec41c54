"""Families of tasks from one name: a task a class, of folders, arrays and built-in families."""

import numpy as np
import pytest
from PIL import Image

from mulligan.errors import MulliganError, UsageError
from mulligan.tasks.families import read_family


def pictures(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 8, 8), np.uint8)


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "shapes.npz"
    labels = np.repeat([0, 1, 2], [80, 80, 40])
    script = np.repeat([0, 1], 100)
    np.savez(path, images=pictures(200), labels=labels, label_names=np.array(["dot", "bar", "few"]),
             script=script, script_names=np.array(["Latin", "Greek"]), split=np.repeat([0, 1], 100))  # fmt: skip
    return path


def test_a_plain_source_is_one_task(archive):
    family = read_family(str(archive))
    assert (family.name, [task.name for task in family.tasks]) == ("shapes", ["shapes"])
    assert read_family("glyphs/A").name == "glyphs"


def test_each_class_is_a_task_if_it_is_large_enough(archive):
    np.savez(archive, **{name: value for name, value in np.load(archive).items() if name != "split"})
    family = read_family(f"{archive}@labels")
    assert [task.name for task in family.tasks] == ["shapes/dot", "shapes/bar"]
    assert [sum(task.counts.values()) for task in family.tasks] == [80, 80]
    assert all(task.classes is None for task in family.tasks)
    with pytest.raises(UsageError, match="50 training images"):
        read_family(f"{archive}@labels=few")


def test_another_array_groups_and_leaves_the_files_split_aside(archive):
    family = read_family(f"{archive}@script", size=16)
    assert [task.name for task in family.tasks] == ["shapes/Latin", "shapes/Greek"]
    assert [sum(task.counts.values()) for task in family.tasks] == [100, 100]
    assert {task.shape for task in family.tasks} == {(16, 16, 1)}
    assert [task.name for task in read_family(f"{archive}@script=Greek").tasks] == ["shapes/Greek"]


def test_folders_are_classes(tmp_path):
    for name in ("cats", "dogs"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for index, image in enumerate(pictures(70, seed=len(name) + ord(name[0]))):
            Image.fromarray(image).save(tmp_path / "pets" / name / f"{index}.png")
    family = read_family(f"{tmp_path / 'pets'}@labels")
    assert [task.name for task in family.tasks] == ["pets/cats", "pets/dogs"]


def test_members_of_built_in_families_are_drawn_whole():
    family = read_family("textures@labels=petals,leaves")
    assert [task.name for task in family.tasks] == ["textures/petals", "textures/leaves"]
    assert len(family.tasks[0].train) == 2000
    assert len(read_family("digits@labels").tasks) == 10


def test_a_path_that_exists_is_taken_as_it_is(tmp_path):
    path = tmp_path / "odd@name.npy"
    np.save(path, pictures(60))
    assert len(read_family(str(path)).tasks) == 1


@pytest.mark.parametrize(
    ("text", "kind", "reason"),
    [
        ("{archive}@colour", UsageError, "no array 'colour'"),
        ("{archive}@script=Runes", UsageError, "no class 'Runes'; it has Latin, Greek"),
        ("digits@script", UsageError, "only an .npz file"),
        ("digits@labels=11", UsageError, "no class '11'"),
        ("nothing@labels", MulliganError, "no file or folder"),
    ],
)
def test_what_is_not_there_is_one_sentence(archive, text, kind, reason):
    with pytest.raises(kind, match=reason):
        read_family(text.format(archive=archive))
