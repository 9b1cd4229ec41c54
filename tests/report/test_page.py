"""The page: everything in it, nothing outside it, whatever state the run is in."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from fake_run import edit, events, write_events
from PIL import Image

from mulligan.errors import MulliganError
from mulligan.recipe import Recipe
from mulligan.report.markup import VOID, Html, element
from mulligan.report.page import SECTIONS, page, write_report
from mulligan.report.run import read_run

HOSTILE = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;"
HEADINGS = ["Samples", "Proof", "Quality", "Averages", "Nearest training images", "Between two samples", "Training"]
HEADINGS += ["What happened"]


class Outline(HTMLParser):
    """The elements of a page; fails where a tag closes what is not open."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID and tag not in ("doctype",):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] == ["h2"]:
            self.headings.append(data)

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


@pytest.fixture(scope="session")
def told():
    return events(np.random.default_rng(0))


def test_a_finished_run_shows_everything(run):
    path = write_report(run)
    assert path == run / "report.html"
    text = path.read_text("utf-8")
    outline = Outline(text)
    assert outline.headings == [*HEADINGS, "Recipe", "Data", "Cost"]
    for words in (
        "0.0213",
        "0.0181 to 0.0250",
        "768,000 images",
        "the 5 minutes are spent",
        "KID@m1",
        "energy@m1+pixels",
        "AMD EPYC",
    ):
        assert words in text
    assert text.count('class="frame"') == 40  # of the 41 that were kept
    assert "discriminator has won" in text
    assert len(text) < 6e6


def test_images_of_recipes_that_lost_and_small_ones_are_told_beside_its_own(light, told):
    *others, final = told
    assert "In all" not in page(read_run(light))
    write_events(light, [*others, final | {"cost": final["cost"] | {"images": 900_000, "seconds": 400.0}}])
    assert "768,000 images seen in 4 min 57 s. In all 900,000 in 6 min 40 s." in page(read_run(light))


def test_every_kind_of_event_leaves_its_trace(light, told):
    write_events(light, [*told, {"kind": "race", "nimg": 9, "seconds": 9, "arms": "seven"}])
    text = page(read_run(light))
    traces = {
        "start": "412k parameters",
        "chunk": 'aria-label="Losses',
        "samples": 'class="frame"',
        "evaluation": 'aria-label="KID@m1',
        "guard": "both learning rates halved",
        "checkpoint": "checkpoints, the newest after",
        "resume": "from 512,000 images",
        "stop": "interrupted from the keyboard",
        "average": "power_05 at 624000",
        "choice": "power_10 is kept",
        "final": "scored once on the test split",
        "race": "seven",
    }
    assert traces.keys() >= {event["kind"] for event in told}
    for kind, trace in traces.items():
        assert trace in text, kind
        without = [event for event in told if event["kind"] != kind]
        write_events(light, without)
        assert trace not in page(read_run(light)), kind


def test_the_page_asks_for_nothing_over_a_network(run):
    outline = Outline(write_report(run).read_text("utf-8"))
    for tag, attributes in outline.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base"), tag
        for name in ("src", "href", "srcset", "poster", "action"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:image/", "#")), (tag, value)
    style = (write_report(run)).read_text("utf-8")
    assert "http:" not in style
    assert "https:" not in style
    assert "@import" not in style
    assert "default-src &#x27;none" in style or "default-src 'none'" in style


@pytest.mark.parametrize("until", [0, 1, 2, 20, 250])
def test_a_run_that_is_not_over_gives_a_page(run, told, until):
    shutil.rmtree(run / "final")
    write_events(run, told[:until])
    text = page(read_run(run))
    Outline(text)
    assert "Not finished" in text
    assert "mulligan resume run" in text


def test_interrupted(run, told):
    shutil.rmtree(run / "final")
    stop = next(index for index, event in enumerate(told) if event["kind"] == "stop")
    write_events(run, told[: stop + 1])
    text = page(read_run(run))
    assert ">Interrupted<" in text
    assert "mulligan resume run" in text


def test_a_run_that_the_guard_gave_up(run, told):
    shutil.rmtree(run / "final")
    lost = {"nimg": 0, "seconds": 9}
    guard = {"kind": "guard", "reason": "not finite", "action": "halved", "back_to_nimg": 0, "attempt": 1, **lost}
    write_events(run, [told[0], guard, {"kind": "stop", "reason": "in vain", "code": "guard", **lost}])
    text = page(read_run(run))
    Outline(text)
    assert ">Stopped<" in text
    assert "in vain" in text
    assert "mulligan resume" not in text


def test_metrics_that_are_null_or_nonsense_are_left_out(run, told):
    spoiled = []
    for event in told:
        keep = event["kind"] in ("samples", "start")
        spoiled.append(
            {key: value if keep or key in ("kind", "nimg", "seconds") else None for key, value in event.items()}
        )
    spoiled += [{"kind": "chunk", "nimg": 1, "seconds": 1, "gen_loss": [], "hyperparameters": [3], "disc_loss": {}}]
    write_events(run, spoiled)
    Outline(page(read_run(run)))


def test_documents_without_their_keys_give_a_page(run):
    for name, content in (("run.json", {"format": 1}), ("task.json", {}), ("recipe.json", Recipe().to_json())):
        (run / name).write_text(json.dumps(content))
    text = page(read_run(run))
    Outline(text)
    assert "The default recipe" in text
    assert "changed" not in re.findall(r'<tr class="(\w+)"', text)


def test_documents_of_nonsense_give_a_page(run):
    edit(run, "run.json", machine=3, budget=[], options="x", created=7, source={"a": HOSTILE})
    edit(run, "task.json", shape="x", counts=3, classes={}, descriptor=[1], notes="x", name=["a"], hash=None)
    Outline(page(read_run(run)))


def test_changed_choices_are_marked_with_the_default(run):
    text = page(read_run(run))
    rows = re.findall(r'<tr class="changed"><th scope="row">([^<]*)</th><td>(.*?)<small>(.*?)</small>', text)
    assert ("gen width", "16", "default 32") in rows
    assert {name for name, _, _ in rows} == {
        *("gen width", "disc width", "minibatch std", "averages", "gen lr", "disc lr", "gamma")
    }


def test_hostile_words_stay_words(run, told):
    edit(run, "run.json", source=HOSTILE, machine={HOSTILE: HOSTILE}, options={HOSTILE: HOSTILE})
    edit(run, "task.json", name=HOSTILE, classes=[HOSTILE, "\ud800"], notes=[HOSTILE], descriptor={HOSTILE: 1})
    hostile = {"reason": HOSTILE, "action": HOSTILE, "average": HOSTILE, "embedding": HOSTILE, "split": HOSTILE}
    hostile |= {"hyperparameters": {HOSTILE: 1.0}, "path": HOSTILE, "skipped": [HOSTILE]}
    hostile |= {"gains": {HOSTILE: {"value": -1.0, "deviation": HOSTILE}}}
    spoiled = [event | {key: hostile[key] for key in hostile if key in event} for event in told]
    spoiled.append({"kind": HOSTILE, "nimg": 1, "seconds": 1, HOSTILE: HOSTILE})
    spoiled.append({"kind": "chunk", "nimg": 2, "seconds": 1, "hyperparameters": {HOSTILE: 2.0}})
    write_events(run, spoiled)
    outline = Outline(write_report(run).read_text("utf-8"))
    assert outline.count("script") == 1
    assert not any("onerror" in attributes for _, attributes in outline.tags)
    assert all((attributes.get("src") or "data:").startswith("data:") for _, attributes in outline.tags)


def test_damaged_pictures_are_left_out(run):
    for path in (run / "samples").glob("*.png"):
        path.write_bytes(path.read_bytes()[:60])
    (run / "final" / "samples.png").write_bytes(b"")
    (run / "final" / "neighbours.npz").write_bytes(b"PK")
    (run / "final" / "interpolation.png").unlink()
    outline = Outline(page(read_run(run)))
    assert not set(HEADINGS) & set(outline.headings) - {"Proof", "Quality", "Averages", "Training", "What happened"}


@pytest.mark.parametrize("shape", [(3, 8, 8, 1), (3, 2, 8, 8), (2, 2, 8, 8, 1), (3, 0, 8, 8, 1)])
def test_neighbours_that_do_not_fit_are_left_out(run, shape):
    samples, distance = np.zeros((3, 8, 8, 1), np.uint8), np.zeros((3, 2), np.float32)
    np.savez(
        run / "final" / "neighbours.npz",
        samples=samples,
        nearest=np.zeros(shape, np.uint8),
        distance=distance,
        typical=np.float32(1),
    )
    assert "Nearest training images" not in page(read_run(run))


def test_large_pictures_are_made_small_enough(run, told):
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (700, 700, 3), np.uint8))
    noise.save(run / "final" / "samples.png")
    noise.save(run / "final" / "interpolation.png")
    small = rng.integers(0, 256, (240, 240, 3), np.uint8)
    for path in (run / "samples").glob("*.png"):
        Image.fromarray(small).save(path)
    images = rng.integers(0, 256, (16, 96, 96, 3), np.uint8)
    distance = np.ones((16, 8), np.float32)
    nearest = images[:, None].repeat(8, 1)
    np.savez(run / "final" / "neighbours.npz", samples=images, nearest=nearest, distance=distance, typical=1.0)
    text = page(read_run(run))
    assert len(text) < 6e6
    assert 20 <= text.count('class="frame"') <= 40
    assert text.count("image/webp") > 20


def test_a_section_that_has_nothing_to_say_is_left_out_and_a_new_one_goes_in(run, monkeypatch):
    monkeypatch.setattr(
        "mulligan.report.page.SECTIONS", [lambda record: None, lambda record: element("h2", record.folder.name)]
    )
    text = page(read_run(run))
    assert Outline(text).headings == ["run"]
    assert len(SECTIONS) == 14


def test_a_report_is_written_whole_or_not_at_all(run, monkeypatch):
    before = write_report(run).read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(MulliganError, match="No space left"):
        write_report(run)
    assert (run / "report.html").read_bytes() == before
    assert not list(run.glob(".report*"))


def test_elements_escape_all_but_html():
    assert element("p", "<b>", Html("<i></i>"), title='"<') == '<p title="&quot;&lt;">&lt;b&gt;<i></i></p>'


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("chromium"), reason="chromium is not installed")
def test_the_script_runs_in_a_browser(run):
    done = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", f"file://{write_report(run)}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    dom = done.stdout
    assert '<a href="#quality">Quality</a>' in dom
    assert dom.count('class="frame now"') == 1
    assert re.search(r'<div class="controls">', dom)
