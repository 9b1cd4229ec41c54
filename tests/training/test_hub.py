"""Generators to the hub and back: against a stand-in for its library, and the library itself against a local server."""

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import jax
import numpy as np
import pytest

import mulligan
from mulligan.errors import MulliganError, UsageError
from mulligan.networks.architecture import build
from mulligan.recipe import Architecture, Recipe
from mulligan.training.generator import Generator

ARCHITECTURE = Architecture("mlp", gen_width=8, gen_depth=1, disc_width=8, disc_depth=1, latent=5)


@pytest.fixture(scope="module")
def generator():
    network = build(ARCHITECTURE, (8, 10, 3), 0, jax.random.key(0)).gen
    return Generator(Recipe(architecture=ARCHITECTURE), (8, 10, 3), None, network)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub in a folder: what was made, and with which options."""
    made = {}

    class HfApi:
        def create_repo(self, repo_id, *, private, exist_ok):
            made[repo_id] = {"private": private, "exist_ok": exist_ok}
            return f"https://hub.example/{repo_id}"

        def upload_folder(self, *, repo_id, folder_path, commit_message):
            subprocess.run(["cp", "-r", folder_path, tmp_path / repo_id.replace("/", "+")], check=True)

    def snapshot_download(repo_id, *, revision, allow_patterns):
        made["asked"] = (revision, sorted(allow_patterns))
        folder = tmp_path / repo_id.replace("/", "+")
        if not folder.is_dir():
            raise OSError(f"404: no repository {repo_id}\nsee the manual")
        return str(folder)

    library = SimpleNamespace(HfApi=HfApi, snapshot_download=snapshot_download)
    monkeypatch.setitem(sys.modules, "huggingface_hub", library)
    return SimpleNamespace(made=made, folder=tmp_path)


def test_what_was_pushed_is_loaded(generator, hub):
    assert generator.push_to_hub("ann/cats", licence="CC0-1.0") == "https://hub.example/ann/cats"
    assert hub.made["ann/cats"] == {"private": False, "exist_ok": True}
    files = sorted(file.name for file in (hub.folder / "ann+cats").iterdir())
    assert files == ["README.md", "generator.json", "generator.safetensors", "samples.png"]
    text = (hub.folder / "ann+cats" / "README.md").read_text()
    assert 'mulligan.load("hf:ann/cats")' in text
    assert "![samples](samples.png)" in text
    again = mulligan.load("hf:ann/cats")
    np.testing.assert_array_equal(again.sample(3), generator.sample(3))
    assert (again.licence, again.run) == ("CC0-1.0", None)
    mulligan.load("hf:ann/cats@v2")
    assert hub.made["asked"] == ("v2", ["generator.json", "generator.safetensors"])


def test_what_is_not_there_is_a_sentence(hub):
    with pytest.raises(MulliganError, match=r"hf:ann/dogs cannot be had from the hub: 404: no repository ann/dogs\."):
        mulligan.load("hf:ann/dogs")
    (hub.folder / "ann+text").mkdir()
    with pytest.raises(MulliganError, match=r"hf:ann/text is no generator of mulligan's: it has no generator\.json"):
        mulligan.load("hf:ann/text")


@pytest.mark.parametrize("name", ["cats", "ann/cats/more", "../cats/x", "ann/ca ts", ""])
def test_names_that_the_hub_cannot_have_are_refused(generator, hub, name):
    with pytest.raises(UsageError, match="say user/name"):
        generator.push_to_hub(name)
    with pytest.raises(UsageError, match="say user/name"):
        mulligan.load(f"hf:{name}")


def test_a_refusal_of_the_hub_is_a_sentence(generator, hub, monkeypatch):
    def refuse(self, *arguments, **options):
        raise ValueError("401 Unauthorized\nmore")

    monkeypatch.setattr(sys.modules["huggingface_hub"].HfApi, "upload_folder", refuse)
    with pytest.raises(MulliganError, match=r"did not take ann/cats: 401 Unauthorized; `hf auth login`"):
        generator.push_to_hub("ann/cats")


def test_without_the_library_it_says_what_to_install(generator, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for call in (lambda: generator.push_to_hub("ann/cats"), lambda: mulligan.load("hf:ann/cats")):
        with pytest.raises(MulliganError, match=r"pip install 'mulligan\[hub\]'"):
            call()


class LocalHub(BaseHTTPRequestHandler):
    """As much of the hub's interface as an upload and a download take; `files` is what it holds."""

    files: dict[str, bytes]

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/api/repos/create":
            return self.answer({"url": f"http://{self.headers['Host']}/ann/cats", "name": "ann/cats"})
        if "/preupload/" in self.path:
            asked = json.loads(body)["files"]
            modes = [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False} for one in asked]
            return self.answer({"files": modes})
        if "/commit/" in self.path:
            import base64

            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            url = f"http://{self.headers['Host']}/ann/cats/commit/{COMMIT}"
            return self.answer({"commitUrl": url, "commitOid": COMMIT, "success": True})
        return self.answer({"type": "file", "valid": True})  # such as the check of the card's head

    def do_GET(self, head=False):
        if re.search(r"/api/models/ann/cats", self.path):
            siblings = [{"rfilename": name} for name in self.files]
            tree = [{"type": "file", "path": name, "size": len(c), "oid": "0" * 40} for name, c in self.files.items()]
            return self.answer(
                tree if "/tree/" in self.path else {"id": "ann/cats", "sha": COMMIT, "siblings": siblings}
            )
        name = self.path.split("?")[0].rpartition("/")[2]
        content = self.files.get(name)
        if content is None:
            return self.answer({"error": "not found"}, 404)
        self.send_response(200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        return None if head else self.wfile.write(content)

    def do_HEAD(self):
        self.do_GET(head=True)

    def answer(self, document, status=200):
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        """Nothing is printed."""


COMMIT = "c" * 40


def test_the_real_library_pushes_to_a_local_hub_and_loads_from_it(generator, tmp_path):
    pytest.importorskip("huggingface_hub", reason="the hub extra is not installed")
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Hub", (LocalHub,), {"files": {}}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    generator.save(tmp_path / "gan")
    code = (
        "import sys, mulligan\n"
        "print(mulligan.load(sys.argv[1]).push_to_hub('ann/cats'))\n"
        "print(mulligan.load('hf:ann/cats').sample(3).sum())\n"
    )
    place = f"http://127.0.0.1:{server.server_address[1]}"
    around = {
        "HF_ENDPOINT": place,
        "HF_HOME": str(tmp_path / "hf"),
        "HF_TOKEN": "hf_made_up",
        "HF_HUB_DISABLE_XET": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "gan")],
        capture_output=True,
        text=True,
        env={**os.environ, **around, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    server.shutdown()
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[1:] == [str(generator.sample(3).sum())]
