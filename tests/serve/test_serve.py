"""The page on the loopback address: its images, what it refuses, and that a browser can use it."""

import io
import json
import shutil
import socket
import subprocess
import threading
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import jax
import numpy as np
import pytest
from PIL import Image
from small_projections import small_projections

from mulligan.errors import MulliganError, UsageError
from mulligan.grid import png
from mulligan.networks.architecture import build
from mulligan.recipe import Architecture, Recipe
from mulligan.serve import server, uploads
from mulligan.serve.drawing import Wish, drawn
from mulligan.serve.server import make_server
from mulligan.training.generator import Generator

ARCHITECTURE = Architecture("mlp", gen_width=8, gen_depth=1, disc_width=8, disc_depth=1, latent=5)


@pytest.fixture(scope="module")
def generator():
    network = build(ARCHITECTURE, (8, 10, 3), 2, jax.random.key(0)).gen
    return Generator(Recipe(architecture=ARCHITECTURE), (8, 10, 3), ("cat", "dog"), network)


@pytest.fixture(scope="module")
def address(generator):
    server = make_server(generator, port=0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


@pytest.fixture(scope="module", autouse=True)
def brief():
    with small_projections():
        yield


def upload(address, content, query="", **headers):
    request = Request(f"{address}/upload{query}", content, {"Content-Type": "image/png", **headers}, method="POST")
    return json.loads(urlopen(request).read())


def refused(address, content, **headers):
    with pytest.raises(HTTPError) as refusal:
        upload(address, content, **headers)
    return refusal.value.code, refusal.value.read().decode()


def image(address, query):
    return np.asarray(Image.open(io.BytesIO(urlopen(f"{address}/image.png?{query}").read())).convert("RGB"))


def test_the_page_knows_its_generator(address):
    assert b"latent sliders" in urlopen(address).read()
    about = json.loads(urlopen(f"{address}/about").read())
    assert about == {"latent": 5, "shape": [8, 10, 3], "classes": ["cat", "dog"]}


def test_images_are_the_generators_own(address, generator):
    grid = image(address, "seed=3&rows=1&columns=4")
    assert grid.shape == (8, 40, 3)
    np.testing.assert_array_equal(grid[:, :10], generator.sample(4, seed=3)[0])
    np.testing.assert_array_equal(grid[:, 30:], generator.sample(4, seed=3)[3])


def test_walks_truncation_classes_and_sliders(generator):
    plain = drawn(generator, Wish(rows=1, columns=3, label=1))
    walk = drawn(generator, Wish(rows=1, columns=9, label=1, to_seed=7))
    np.testing.assert_array_equal(walk[0, 0], plain[0, 0])
    np.testing.assert_array_equal(walk[0, -1], drawn(generator, Wish(rows=1, columns=1, seed=7, label=1))[0, 0])
    steps = np.abs(np.diff(walk[0].astype(int), axis=0)).mean((1, 2, 3))
    assert steps.max() < 4 * steps.mean()
    still = drawn(generator, Wish(rows=1, columns=3, truncation=0, label=1))
    assert np.ptp(still, axis=1).max() == 0
    assert (drawn(generator, Wish(rows=1, columns=3, label=1, moved=((2, 1.5),))) != plain).any()
    assert (drawn(generator, Wish(rows=1, columns=3, label=0)) != plain).any()


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("rows=13&columns=12", "a grid has 1 to 144 images"),
        ("seed=-1", "a seed is 0 or more"),
        ("truncation=9", "the truncation lies between 0 and 3"),
        ("truncation=nan", "the truncation lies between 0 and 3"),
        ("label=2", "there is no such class"),
        ("moved=5:1", "a slider moves one of 5 numbers"),
        ("seed=x", "invalid literal"),
        ("origin=99", "this picture is no longer remembered"),
    ],
)
def test_what_cannot_be_drawn_is_a_sentence(address, query, sentence):
    with pytest.raises(HTTPError) as refusal:
        urlopen(f"{address}/image.png?{query}")
    assert refusal.value.code == 400
    assert sentence in refusal.value.read().decode()


def test_other_pages_and_other_names_are_refused(address):
    with pytest.raises(HTTPError) as missing:
        urlopen(f"{address}/../etc/passwd")
    assert missing.value.code == 404
    with pytest.raises(HTTPError) as foreign:
        urlopen(Request(address, headers={"Host": "evil.example"}))
    assert foreign.value.code == 403


def test_an_uploaded_picture_is_found_and_moved_from(address, generator):
    drawn_before = generator.sample(4, seed=5)[3]
    found = upload(address, png(drawn_before))
    assert found["label"] == 1
    assert found["error"] < 0.05
    given = Image.open(io.BytesIO(urlopen(f"{address}/given.png?origin={found['origin']}").read()))
    np.testing.assert_array_equal(np.asarray(given), drawn_before)
    around = image(address, f"origin={found['origin']}&rows=1&columns=3").reshape(8, 3, 10, 3).swapaxes(0, 1)
    error = ((around[0].astype(int) - drawn_before) ** 2).mean() ** 0.5 / 255
    assert error == pytest.approx(found["error"], rel=1e-3)
    assert (around[1] != around[0]).any()
    walk = image(address, f"origin={found['origin']}&rows=1&columns=3&to_seed=4")
    np.testing.assert_array_equal(walk[:, :10], around[0])
    np.testing.assert_array_equal(walk[:, 20:], generator.sample(1, seed=4, labels=1)[0])
    moved = image(address, f"origin={found['origin']}&rows=1&columns=1&moved=0:2")
    assert (moved != around[0]).any()
    as_cat = upload(address, png(drawn_before), "?label=0")
    assert (as_cat["label"], as_cat["origin"]) == (0, found["origin"] + 1)


def test_what_is_no_picture_of_bounded_size_is_refused(address, generator, monkeypatch):
    assert refused(address, b"words") == (400, "this picture cannot be read: not an image in a known format.")
    assert refused(address, b"")[0] == 400
    assert refused(address, png(generator.sample(1)[0]), **{"Content-Type": "text/plain"})[0] == 400
    assert refused(address, png(generator.sample(1)[0]), Host="evil.example")[0] == 403
    monkeypatch.setattr(server, "MOST_BYTES", 10)
    assert "at most" in refused(address, b"0123456789+")[1]


def test_uploads_wait_for_each_other_and_are_forgotten(generator, monkeypatch):
    monkeypatch.setattr(uploads, "PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(uploads, "REMEMBERED", 2)
    room = uploads.Uploads(generator, uploads.Fitting(generator.shape))
    content = png(generator.sample(1)[0])
    with room._one_at_a_time, pytest.raises(uploads.BusyError):
        room.add(content, None)
    assert [room.add(content, None)[0] for _ in range(3)] == [0, 1, 2]
    assert room[2].label == 0
    with pytest.raises(UsageError, match="no longer remembered"):
        room[0]


def test_all_pictures_and_samples_come_from_one_compiled_program(generator):
    drawn(generator, Wish())
    program = generator.sampler.program
    compiled = program._cache_size()  # others in this process may have sampled with it
    for seed in range(3):
        drawn(generator, Wish(rows=1, columns=2 + seed, seed=seed))
        generator.sample(5 + seed, seed=seed)
    assert generator.sampler.program is program
    assert program._cache_size() == compiled


def test_silent_browsers_take_no_more_threads_than_there_are(generator, monkeypatch):
    monkeypatch.setattr(server, "PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(server._Handler, "timeout", 2.0)
    held = make_server(generator, port=0)
    thread = threading.Thread(target=held.serve_forever, daemon=True)
    thread.start()
    before = threading.active_count()
    port = held.server_address[1]
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(2 * server.MOST_THREADS)]
    refused = [connection.recv(100) for connection in silent[server.MOST_THREADS :]]
    assert [answer[:12] for answer in refused] == [b"HTTP/1.0 503"] * server.MOST_THREADS
    assert threading.active_count() - before <= server.MOST_THREADS
    assert [connection.recv(100) for connection in silent[: server.MOST_THREADS]] == [b""] * server.MOST_THREADS
    assert image(f"http://127.0.0.1:{port}", "rows=1&columns=1").shape == (8, 10, 3)
    held.shutdown()
    for connection in silent:
        connection.close()


def test_a_taken_port_is_a_sentence(address, generator):
    port = int(address.rsplit(":", 1)[1])
    with pytest.raises(MulliganError, match=f"port {port} is taken .*give another `port`"):
        make_server(generator, port)


@pytest.mark.slow
def test_a_browser_shows_the_images(address):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium is installed")
    command = [
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--virtual-time-budget=20000",
        "--dump-dom",
        address,
    ]
    page = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert 'data-ready="yes"' in page
    assert page.count('type="range"') == 5 + 1
    assert "/image.png?seed=0&amp;truncation=1" in page
    assert ">dog</option>" in page
