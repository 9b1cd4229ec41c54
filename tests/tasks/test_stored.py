"""What lies in a folder or an archive: all of it, in place, and no more than there is."""

import gc
import io
import os
import struct
import tarfile
import zipfile

import numpy as np
import pytest
from pictures import encoded, noise, png, write_folder
from PIL import Image

from mulligan.errors import MulliganError, printable
from mulligan.grid import png as drawn_png
from mulligan.tasks.images import read_task
from mulligan.tasks.stored import MOST_RATIO, UnreadableError, list_folder, list_tar, list_zip
from mulligan.tasks.survey import survey


def names(listing):
    return [file.name for file in listing.files]


def make_run(folder):
    """What `mulligan fit` leaves: documents, grids, and a folder of an arm of a race."""
    for part in ("samples", "final", "trials/00"):
        (folder / part).mkdir(parents=True)
    for part in (folder, folder / "trials/00"):
        (part / "run.json").write_text("{}")
        (part / "recipe.json").write_text("{}")
    write_folder(folder / "samples", noise(3))
    write_folder(folder / "final", noise(2, seed=5))


def test_runs_in_a_folder_are_no_data(tmp_path):
    images = noise(12)
    write_folder(tmp_path, images)
    before = read_task(tmp_path)
    make_run(tmp_path / "runs/mine")
    make_run(tmp_path / "runs/mine-2")
    after = read_task(tmp_path)
    assert after.hash == before.hash
    assert "2 run folders (runs/mine, runs/mine-2) of mulligan's left out." in after.notes
    assert "runs" not in list_folder(tmp_path).folders


def test_runs_beside_classes_are_no_class(tmp_path):
    write_folder(tmp_path, noise(12), [f"{'ab'[number % 2]}/{number}.png" for number in range(12)])
    make_run(tmp_path / "runs/mine")
    assert read_task(tmp_path, labels=True).classes == ("a", "b")


def test_a_run_in_an_archive_and_a_run_itself(tmp_path):
    write_folder(tmp_path / "in", noise(12))
    make_run(tmp_path / "in/out")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for path in sorted((tmp_path / "in").rglob("*")):
            archive.write(path, path.relative_to(tmp_path / "in"))
    assert len(read_task(tmp_path / "a.zip").train) == 12
    with pytest.raises(MulliganError, match="is a run of mulligan's, not images"):
        read_task(tmp_path / "in/out")


def test_pictures_that_mulligan_drew_are_no_data_beside_others(tmp_path):
    write_folder(tmp_path, noise(12))
    (tmp_path / "samples.png").write_bytes(drawn_png(noise(1, 40, 40)[0]))
    task = read_task(tmp_path)
    assert (task.shape, len(task.train)) == ((10, 10, 3), 12)
    assert "1 picture that mulligan drew left out: samples.png." in task.notes
    only = tmp_path / "only"
    only.mkdir()
    for number, image in enumerate(noise(5)):
        (only / f"{number}.png").write_bytes(drawn_png(image))
    assert len(read_task(only).train) == 5


def test_linked_folders_are_read_once(tmp_path):
    write_folder(tmp_path / "else", noise(6), [f"{'ab'[number % 2]}/{number}.png" for number in range(6)])
    here = tmp_path / "here"
    here.mkdir()
    for name in "ab":
        (here / name).symlink_to(tmp_path / "else" / name)
    (here / "again").symlink_to(here / "a")
    (here / "loop").symlink_to(here)
    (here / "up").symlink_to(tmp_path)
    (here / "gone.png").symlink_to(tmp_path / "nowhere.png")
    task = read_task(here, labels=True)
    assert (task.classes, len(task.train)) == (("a", "b"), 6)
    assert any(note.startswith("3 linked folders (again, loop, up) left out") for note in task.notes)
    assert any(note.startswith("1 link (gone.png) left out") for note in task.notes)


def test_a_linked_root_and_linked_files(tmp_path):
    write_folder(tmp_path / "real", noise(4))
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real/more.png").symlink_to(tmp_path / "other.png")
    (tmp_path / "other.png").write_bytes(png(noise(1, seed=9)[0]))
    assert len(read_task(tmp_path / "link").train) == 5


def zip_of(path, entries):
    """A zip whose names are written as they are given, bytes included, without saying that they are UTF-8."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries:
            entry = zipfile.ZipInfo("x")
            entry.filename = name
            archive.writestr(entry, content)
    return path


def test_zips_of_windows_have_backslashes(tmp_path):
    images = noise(8)
    path = zip_of(tmp_path / "a.zip", [(f"set\\{'ab'[k % 2]}\\{k}.png", png(image)) for k, image in enumerate(images)])
    assert read_task(path, labels=True).classes == ("a", "b")


def test_zips_of_macos_have_names_in_utf_8_and_folders_of_their_own(tmp_path):
    entries = [(f"set/{'äß'[k % 2]}/{k}.png", png(image)) for k, image in enumerate(noise(8))]
    entries += [(f"__MACOSX/set/._{k}.png", b"x") for k in range(8)] + [("set/.DS_Store", b"x")]
    path = zip_of(tmp_path / "a.zip", entries)
    content = path.read_bytes()
    for position in range(len(content) - 4):  # clear the flag that says UTF-8, in local headers and the directory
        where = {b"PK\x03\x04": 6, b"PK\x01\x02": 8}.get(content[position : position + 4])
        if where:
            content = content[: position + where] + b"\0\0" + content[position + where + 2 :]
    path.write_bytes(content)
    assert zipfile.ZipFile(path).namelist()[0] != "set/ä/0.png"
    task = read_task(path, labels=True)
    assert task.classes == ("ß", "ä")
    assert not [note for note in task.notes if "skipped" in note]


def lying_zip(path, content, claim):
    """A zip of one file whose headers claim another size."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", content)
    raw = bytearray(path.read_bytes())
    local, central = raw.index(b"PK\x03\x04"), raw.index(b"PK\x01\x02")
    raw[local + 22 : local + 26] = raw[central + 24 : central + 28] = struct.pack("<I", claim)
    path.write_bytes(raw)
    return path


def test_zip_sizes_that_lie_are_found_when_read(tmp_path):
    [file] = list_zip(lying_zip(tmp_path / "a.zip", bytes(50_000_000), 1000)).files
    with pytest.raises(UnreadableError):
        file.read()
    with pytest.raises(MulliganError, match="as only a decompression bomb does"):
        list_zip(lying_zip(tmp_path / "b.zip", png(noise(1)[0]), 2**31))


def test_what_a_zip_unpacks_to_is_counted_not_believed(tmp_path):
    """Packed sizes that claim to be large would let everything through."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(20_000_000))
    raw = bytearray(path.read_bytes())
    central = raw.index(b"PK\x01\x02")
    raw[central + 20 : central + 24] = struct.pack("<I", 2_000_000)
    path.write_bytes(raw)
    with pytest.raises(MulliganError, match=f"more than|unpacks to|cannot be read|{MOST_RATIO}"):
        read_task(path)


@pytest.mark.parametrize("kind", ["w", "w:gz"])
def test_tars_with_names_of_absurd_length(tmp_path, kind):
    """tarfile reads a long name of any claimed length in one go."""
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 3 * 2**30
    content = header.tobuf(tarfile.GNU_FORMAT) + bytes(2**21 if kind == "w" else 2**26)
    path = tmp_path / "a.tar"
    if kind == "w":
        path.write_bytes(content)
    else:
        import gzip

        path.write_bytes(gzip.compress(content))
    with pytest.raises(MulliganError, match=r"cannot be read as a tar|decompression bomb|holds no"):
        read_task(path)


def test_members_of_a_plain_tar_stay_in_their_file(tmp_path):
    write_folder(tmp_path / "loose", noise(5))
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(tmp_path / "loose", "./set")
    listing = list_tar(tmp_path / "a.tar", 0)
    assert names(listing) == [f"set/{number:03d}.png" for number in range(5)]
    assert [file.read() for file in listing.files] == [png(image) for image in noise(5)]


def test_skipped_files_are_not_kept_in_memory(tmp_path):
    """An exception that is kept keeps its frames, and in them the file."""
    write_folder(tmp_path, noise(30))
    size = 10_000_000
    for number in range(3):
        (tmp_path / f"{number}.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + os.urandom(size))
    (tmp_path / "torn.png").write_bytes(png(noise(1)[0])[:60] + bytes(size))
    found = survey(list_folder(tmp_path).files, "here")
    gc.collect()
    held = [thing for thing in gc.get_objects() if isinstance(thing, io.BytesIO) and not thing.closed]
    assert not [one for one in held if len(one.getvalue()) >= size]
    assert [name for name, _ in found.others] == ["0.mp4", "1.mp4", "2.mp4"]
    assert {type(reason) for _, reason in found.others} == {str}


def test_only_the_beginning_of_what_is_no_image_is_read(tmp_path, monkeypatch):
    write_folder(tmp_path, noise(12))
    (tmp_path / "film.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(5_000_000))
    listing = list_folder(tmp_path)
    [film] = [file for file in listing.files if file.name == "film.mp4"]
    asked = []
    counted = film._replace(start=lambda n: asked.append(n) or film.start(n))
    survey([*[file for file in listing.files if file.name != "film.mp4"], counted], "here")
    assert max(asked) <= 2**16


def test_names_cannot_command_a_terminal(tmp_path):
    write_folder(tmp_path, noise(12), [f"{number}.png" for number in range(12)])
    (tmp_path / "evil\x1b[2J\x07\n.txt").write_text("hello")
    (tmp_path / os.fsdecode(b"\xff\xfe.txt")).write_text("hello")
    task = read_task(tmp_path)
    assert all(note.isprintable() for note in task.notes)
    with pytest.raises(MulliganError) as caught:
        read_task("\x1b]0;owned\x07nowhere")
    assert str(caught.value).isprintable()
    np.savez(tmp_path / "a.npz", images=noise(12), labels=np.arange(12) % 2, label_names=["\x1b[31m", "b\x07"])
    assert all(name.isprintable() for name in read_task(tmp_path / "a.npz", labels=True).classes)


def test_what_is_printable_stays():
    text = "Äpfel 👩‍👩‍👧 日本 ß"
    assert printable(text) == text
    assert printable("a\u202eb") == "a\ufffdb"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\0\0\0\x18ftypheic" + bytes(40), "HEIC"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + bytes(40), "HEIC"),
        (b"\xff\x0a" + bytes(40), "JPEG XL"),
        (b"8BPS" + bytes(40), "Photoshop"),
        (b'<?xml version="1.0"?>\n<svg xmlns="x"/>', "SVG"),
        (b"<svg/>", "SVG"),
    ],
)
def test_what_is_meant_for_an_image_is_named(tmp_path, content, kind):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(MulliganError, match=f"holds no images; a .*{kind}.*save it as"):
        read_task(tmp_path)
    write_folder(tmp_path, noise(3))
    for number in range(3):
        (tmp_path / f"b{number}").write_bytes(content)
    with pytest.raises(MulliganError, match=f"4 of 7 image files .*{kind}"):  # not skipped in silence
        read_task(tmp_path)


def test_suffixes_in_capitals(tmp_path):
    images = noise(12)
    np.savez(tmp_path / "a.npz", images=images)
    (tmp_path / "a.npz").rename(tmp_path / "A.NPZ")
    np.save(tmp_path / "b.npy", images)
    (tmp_path / "b.npy").rename(tmp_path / "B.NPY")
    (tmp_path / "c").mkdir()
    for number, image in enumerate(images):
        (tmp_path / f"c/{number}.PNG").write_bytes(encoded(Image.fromarray(image)))
    hashes = {read_task(tmp_path / name).hash for name in ("A.NPZ", "B.NPY", "c")}
    assert len(hashes) == 1
    assert read_task(tmp_path / "A.NPZ").name == "A"
