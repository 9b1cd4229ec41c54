"""The command line: help, exit codes, sentences instead of tracebacks, JSON. A stand-in does the training."""

import errno
import json
import re
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import typer
from PIL import Image
from trials import some, task

import mulligan
from mulligan import cli
from mulligan.errors import Interrupted, MulliganError, Terminated, UsageError
from mulligan.meta.space.default import default_recipe
from mulligan.metrics import EMBEDDING
from mulligan.metrics.selection import SELECTS
from mulligan.recipe import Recipe
from mulligan.schema import Named
from mulligan.training.budget import Budget
from mulligan.training.generator import Generator

OPTIONS = {
    "fit": "--time --images --out --seed --recipe --size --labels --background --fit --groups --strategy --experience"
    " --race --workers --init --from --networks --tensorboard --wandb --mlflow --quiet --json",
    "resume": "--data --time --images --networks --tensorboard --wandb --mlflow --quiet --json",
    "average": "--distil --weigh-latents --networks --tensorboard --wandb --mlflow --quiet --json",
    "sample": "-n --out --seed --label --truncation --networks",
    "project": "--out --label --networks --quiet --json",
    "walk": "--out -n --seconds --seed --label --truncation --networks",
    "pack": "--size --background --fit --groups --quiet",
    "export": "--to --out --networks",
    "serve": "--port --networks",
    "report": "--networks --tensorboard --wandb --mlflow",
    "explain": "",
    "score": "--size -n --inception --networks --json",
    "prove": "--networks --quiet --json",
    "demo": "--out --time --quiet",
    "recipe": "",
    "learn": "--time --experience --workers --images --size --init --quiet --json",
    "experience": "",
}
SCORES = {"embedding": "m1", "kid": 0.0123, "kid_low": 0.0111, "kid_high": 0.0135, "frechet": 1.5}
SCORES |= {"n_real": 100, "n_fake": 200, "precision": 0.9, "recall": 0.5, "split": "test"}
EVENTS = [
    {"kind": "start", "nimg": 0, "seconds": 0.1},
    {"kind": "chunk", "nimg": 64, "seconds": 1.0, "images_per_second": 64.0},
    {"kind": "stop", "nimg": 64, "seconds": 1.5, "reason": "the budget is spent", "code": "budget"},
    {"kind": "final", "nimg": 64, "seconds": 2.0, "average": "ema", "best_nimg": 64, **SCORES},
]


def make_run(run: Path, **changes) -> Path:
    """The least that is a run folder."""
    (run / "final").mkdir(parents=True)
    (run / "run.json").write_text(json.dumps({"format": 1, "budget": {"seconds": 60.0}, "seed": 0} | changes))
    (run / "recipe.json").write_text(json.dumps(Recipe().to_json()))
    task = {
        "name": "digits",
        "shape": [8, 8, 1],
        "counts": {"train": 8, "validation": 1, "test": 1},
        "notes": [],
    }
    (run / "task.json").write_text(json.dumps(task))
    return run


@pytest.fixture
def training(monkeypatch, tmp_path):
    """Stands in for `mulligan.api`: `calls` holds how it was called, `fails` what it raises."""
    calls, fails = [], []

    def call(*arguments, **options):
        calls.append((*arguments, {name: value for name, value in options.items() if value not in (None, {})}))

    def train(*arguments, listener, **options):
        call(*arguments, **options)
        for failure in fails:
            raise failure
        run = make_run(tmp_path / "run")
        for event in EVENTS:
            listener(event | ({"run": str(run)} if event["kind"] == "start" else {}))
        return SimpleNamespace(run=run, result=EVENTS[-1])

    def sample(n, seed, labels, truncation):
        calls.append((labels, truncation))
        return np.random.default_rng(seed).integers(0, 256, (n, 8, 8, 3), np.uint8)

    def score(*arguments, **options):
        call(*arguments, **options)
        return SCORES

    def project(generator, pictures, out, *, label, listener):
        calls.append((pictures, out, label))
        listener({"kind": "note", "text": "a.txt skipped."})
        listener({"kind": "projection", "stage": "finding", "share": 0.5})
        rows = [{"name": "me.png", "class": "dog", "error": 0.125, "nearest_error": 0.25}]
        return {"draws": 100, "error": 0.125, "nearest_error": 0.25, "pictures": rows}

    def walk(generator, out, **options):
        calls.append((out, options))
        return out

    gan = SimpleNamespace(sample=sample, classes=("cat", "dog"))
    gan.class_number = lambda name: Generator.class_number(gan, name)
    stand_in = SimpleNamespace(fit=train, resume=train, average=train, load=lambda run, networks: gan, score=score)
    stand_in.project, stand_in.walk = project, walk
    monkeypatch.setitem(sys.modules, "mulligan.api", stand_in)
    return SimpleNamespace(calls=calls, fails=fails)


@pytest.fixture
def run_command(monkeypatch, capsys):
    """Runs the command line in this process: words -> (exit code, stdout, stderr)."""

    def run(*words) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mulligan", *map(str, words)])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        return int(exit_.value.code or 0), *capsys.readouterr()

    return run


def test_help_lists_every_command(run_command):
    code, out, _ = run_command("--help")
    listed = out.split("Commands:\n")[1].split("\n\n")[0].splitlines()
    assert code == 0
    assert [line.split()[0] for line in listed] == list(OPTIONS)
    assert not any(line.endswith("...") for line in listed)  # cut off at 80 columns


@pytest.mark.parametrize("command", OPTIONS)
def test_help_of_a_command_lists_its_options(run_command, command):
    code, out, _ = run_command(command, "--help")
    assert code == 0
    lines = [line for line in out.split("Options:\n")[1].splitlines() if line.startswith("  -")]
    listed = [re.match(r"  (-\w, )?(\S+)", line)[2] for line in lines]
    assert listed == [*OPTIONS[command].split(), "--help"]


def test_help_and_api_import_nothing_heavy():
    heavy = [
        "jax",
        "keras",
        "onnx",
        "numpy",
        "PIL",
        "matplotlib",
        "scipy",
        "sklearn",
        "sqlalchemy",
        "rich.progress",
        "mulligan.meta",
    ]
    program = f"""
import sys, mulligan, mulligan.cli
sys.argv = ["mulligan", "fit", "--help"]
try:
    mulligan.cli.main()
finally:
    print([name for name in {heavy} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "--time" in done.stdout
    assert done.stderr.strip() == "[]"


def test_version(run_command):
    assert run_command("--version") == (0, mulligan.__version__ + "\n", "")


def test_unknown_name_in_the_package_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'fitt'"):
        mulligan.fitt  # noqa: B018


def test_fit_passes_what_was_asked_and_tells_where_everything_is(run_command, training, tmp_path):
    code, out, err = run_command("fit", "photos", "--time", "10m", "--size", 32, "--seed", 3, "--labels")
    assert code == 0
    asked = {"time": "10m", "seed": 3, "race": "ftrl", "size": 32, "labels": True}
    assert training.calls == [("photos", asked)]
    assert "KID@m1 0.0123 (0.0111 to 0.0135)" in out
    assert f"{tmp_path / 'run' / 'report.html'}" in out
    assert "64 images/s" in err
    assert "the budget is spent" in err


def test_quiet_leaves_out_progress_but_not_why_it_stopped(run_command, training):
    _, out, err = run_command("fit", "photos", "--quiet")
    assert "KID@m1" in out
    assert err == "stopped at 64 images: the budget is spent\n"


def test_json_is_one_event_a_line_and_nothing_else(run_command, training):
    code, out, err = run_command("fit", "photos", "--json")
    events = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [event["kind"] for event in events] == ["start", "chunk", "stop", "final"]
    assert Path(events[0]["run"]).is_dir()
    assert err == ""


def test_demo_trains_on_digits(run_command, training):
    code, out, _ = run_command("demo", "--time", "5s")
    [(data, options)] = training.calls
    assert (code, data) == (0, "digits")
    assert (options["time"], options["size"], options["labels"]) == ("5s", 16, True)
    assert "samples.png" in out
    assert "report.html" in out


def test_resume_passes_the_run(run_command, training, tmp_path):
    assert run_command("resume", tmp_path)[0] == 0
    assert training.calls == [(tmp_path, {})]


def test_average_passes_the_run_and_tells_the_result(run_command, training, tmp_path):
    code, out, _ = run_command("average", tmp_path)
    assert (code, training.calls) == (0, [(tmp_path, {"distil": False, "weigh_latents": False})])
    assert "KID@m1 0.0123 (0.0111 to 0.0135)" in out
    assert f"{tmp_path / 'run' / 'report.html'}" in out


@pytest.mark.parametrize("option", ["distil", "weigh_latents"])
def test_average_may_distil_or_weigh_latents(run_command, training, tmp_path, option):
    assert run_command("average", tmp_path, f"--{option.replace('_', '-')}")[0] == 0
    assert training.calls == [(tmp_path, {"distil": False, "weigh_latents": False, option: True})]


@pytest.mark.parametrize(
    ("failure", "code"),
    [(MulliganError("no images in x: give another."), 1), (UsageError("10x is no time: mend it."), 2)],
)
def test_errors_are_one_sentence(run_command, training, failure, code):
    training.fails.append(failure)
    assert run_command("fit", "photos") == (code, "", f"mulligan: {failure}\n")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_full_or_locked_disk_is_one_sentence(run_command, training, number):
    training.fails.append(OSError(number, "why", "/disk/run"))
    code, _, err = run_command("fit", "photos")
    assert code == 1
    assert err.startswith("mulligan: ")
    assert err.count("\n") == 1
    assert "/disk/run" in err


@pytest.mark.parametrize("bug", [ZeroDivisionError("bug"), OSError(errno.EBADF, "bug")])
def test_a_bug_keeps_its_traceback(run_command, training, bug):
    training.fails.append(bug)
    with pytest.raises(type(bug)):
        run_command("fit", "photos")


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EIO, errno.ESTALE, errno.ENAMETOOLONG])
def test_a_place_that_fails_is_one_sentence(run_command, training, number):
    training.fails.append(OSError(number, "Broken", "/mnt/photos"))
    assert run_command("fit", "photos") == (1, "", "mulligan: cannot use /mnt/photos: Broken.\n")


@pytest.mark.parametrize(
    ("stop", "code", "said"), [(None, 130, "interrupted"), (Terminated(signal.SIGTERM), 143, "ended by SIGTERM")]
)
def test_interruption_tells_how_to_go_on(run_command, training, stop, code, said):
    training.fails.append(Interrupted(Path("my runs/photos"), stop))
    found = run_command("fit", "photos")
    assert found == (code, "", f"mulligan: {said} and saved; to go on: mulligan resume 'my runs/photos'\n")


@pytest.mark.parametrize(
    ("stop", "code", "said"), [(KeyboardInterrupt(), 130, "interrupted"), (Terminated(1), 129, "ended by SIGHUP")]
)
def test_interruption_before_anything_is_saved_is_one_sentence_too(run_command, training, stop, code, said):
    training.fails.append(stop)
    assert run_command("fit", "photos") == (code, "", f"mulligan: {said}\n")


@pytest.mark.parametrize(
    "words",
    [
        ["fit", ""],
        ["fit", "  "],
        ["fit", "photos", "--out="],
        ["fit", "photos", "-o", ""],
        ["fit", "photos", "--recipe", ""],
        ["resume", ""],
        ["score", "", "photos"],
        ["learn", "digits", "--experience="],
    ],
)
def test_an_empty_word_is_refused_and_not_taken_for_this_folder(run_command, training, words):
    code, out, err = run_command(*words)
    assert (code, out, training.calls) == (2, "", [])
    assert "empty" in err


def test_a_reader_that_has_gone_ends_no_training(tmp_path):
    program = """
import sys
from types import SimpleNamespace
from mulligan import cli
def fit(*_, listener, **__):
    for seconds in range(2000):
        listener({"kind": "note", "nimg": 0, "seconds": float(seconds), "text": "x" * 100})
    print("trained to the end", file=sys.stderr)
    return SimpleNamespace(run=None, result=None)
sys.modules["mulligan.api"] = SimpleNamespace(fit=fit)
sys.argv = ["mulligan", "fit", "photos", "--json"]
cli.main()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        child.stdout.readline()
        child.stdout.close()
        said = child.stderr.read()
    assert (child.returncode, said) == (0, "trained to the end\n")


@pytest.mark.parametrize("words", [["fit"], ["fit", "x", "--size", "big"], ["fit", "x", "--sizes", "9"], ["fitt"], []])
def test_bad_usage_is_2(run_command, training, words):
    code, _, _ = run_command(*words)
    assert code == 2
    assert training.calls == []


def test_sample_makes_a_grid_or_a_folder_of_files(run_command, training, tmp_path):
    assert run_command("sample", "run", "-n", 6, "-o", tmp_path / "grid.png")[:2] == (
        0,
        f"{tmp_path / 'grid.png'}\n",
    )
    assert Image.open(tmp_path / "grid.png").width > 8
    assert run_command("sample", "run", "-n", 6, "-o", tmp_path / "new" / "each", "--seed", 1)[0] == 0
    images = [np.asarray(Image.open(path)) for path in sorted((tmp_path / "new" / "each").iterdir())]
    assert np.array_equal(images, np.random.default_rng(1).integers(0, 256, (6, 8, 8, 3), np.uint8))


@pytest.mark.parametrize(("name", "form"), [("grid.jpg", "JPEG"), ("new/GRID.JPEG", "JPEG"), ("grid.webp", "WEBP")])
def test_sample_writes_the_kind_of_picture_that_is_asked_for(run_command, training, tmp_path, name, form):
    assert run_command("sample", "run", "-n", 6, "-o", tmp_path / name)[0] == 0
    with Image.open(tmp_path / name) as picture:
        assert (picture.format, picture.width > 8) == (form, True)


def test_a_kind_of_picture_that_cannot_be_written_is_one_sentence(run_command, training, tmp_path):
    code, _, err = run_command("sample", "run", "-o", tmp_path / "grid.svg")
    assert (code, err) == (2, "mulligan: .svg pictures cannot be written here: end the name in .png or .jpg.\n")
    assert list(tmp_path.iterdir()) == []


def test_sample_of_one_class(run_command, training, tmp_path):
    assert run_command("sample", "run", "--label", "dog", "-o", tmp_path / "dogs.png")[0] == 0
    assert run_command("sample", "run", "--truncation", 0.5, "-o", tmp_path / "all.png")[0] == 0
    assert training.calls == [(1, 1.0), (None, 0.5)]
    code, _, err = run_command("sample", "run", "--label", "cow", "-o", tmp_path / "cows.png")
    assert (code, err) == (2, "mulligan: this generator has no class 'cow': it knows cat, dog.\n")


def test_project_says_how_near_each_picture_comes(run_command, training):
    code, out, err = run_command("project", "run", "photos", "-o", "found", "--label", "dog")
    assert (code, training.calls) == (0, [(Path("photos"), Path("found"), "dog")])
    assert out.splitlines() == [
        " 0.125  me.png  as dog",
        "error     0.125 in the median, 0.50 of that of the nearest of 100 samples (root mean square of pixels 0 to 1)",
        "pictures  found/projection.png",
    ]
    assert err.splitlines() == ["a.txt skipped.", " 50% finding"]
    assert run_command("project", "run", "photos", "--quiet")[2] == "a.txt skipped.\n"
    assert json.loads(run_command("project", "run", "photos", "--json")[1].splitlines()[-1])["error"] == 0.125


def test_walk_says_where_it_is(run_command, training):
    assert run_command("walk", "run", "-o", "a.webp", "-n", 4, "--seconds", 2, "--truncation", 0.5)[:2] == (
        0,
        "a.webp\n",
    )
    options = {"n": 4, "seconds": 2.0, "seed": 0, "truncation": 0.5, "label": None}
    assert training.calls == [(Path("a.webp"), options)]


@pytest.mark.parametrize(
    ("words", "log"),
    [
        (("fit", "--tensorboard", "tb", "--mlflow", "http://x"), {"tensorboard": Path("tb"), "mlflow": "http://x"}),
        (("resume", "--wandb", "wb"), {"wandb": Path("wb")}),
        (("average",), None),
    ],
)
def test_curves_go_where_they_are_asked_for(run_command, training, words, log):
    assert run_command(words[0], "x", *words[1:], "-q")[0] == 0
    assert training.calls[0][-1].get("log") == log


def test_report_draws_a_page_and_tensorboard_files(run_command, tmp_path):
    run = make_run(tmp_path / "run")
    (run / "events.jsonl").write_text("\n".join(map(json.dumps, EVENTS)))
    code, out, _ = run_command("report", run, "--tensorboard", tmp_path / "board")
    assert (code, out) == (0, f"{run / 'report.html'}\n")
    assert list((tmp_path / "board").rglob("events.out.tfevents*"))


def test_report_of_no_run_is_one_sentence(run_command, tmp_path):
    code, _, err = run_command("report", tmp_path)
    assert code == 1
    assert "is not a run folder" in err


def test_score_prints_figures_or_json(run_command, training):
    code, out, _ = run_command("score", "run", "photos", "-n", 100)
    assert (code, training.calls) == (0, [("run", "photos", {"n": 100})])
    assert "KID@m1 0.0123 (0.0111 to 0.0135)" in out
    assert json.loads(run_command("score", "run", "photos", "--json")[1]) == SCORES


def test_recipe_prints_the_default_one(run_command):
    code, out, _ = run_command("recipe")
    assert code == 0
    assert Recipe.from_json(json.loads(out)) == default_recipe((32, 32, 3), 50_000, Budget(None, 600.0))


def test_learn_passes_what_was_asked(run_command, monkeypatch):
    asked = []

    def learn(*tasks, listener, **options):
        asked.append((tasks, options))
        listener({"kind": "task", "name": "digits", "counts": {"train": 1439}})
        cost = {"images": 32_000, "seconds": 20.0}
        listener(
            {
                "kind": "trial",
                "task": "digits",
                "recipe": "abcdef12",
                "status": "done",
                "reason": None,
                "figure": "energy",
                "value": 0.5,
                **cost,
            }
        )
        return {"tasks": 1, "trials": 1, "failed": 0, "place": "x.db"}

    monkeypatch.setitem(sys.modules, "mulligan.api", SimpleNamespace(learn=learn))
    code, out, err = run_command("learn", "digits", "a@labels", "--time", "1h", "--workers", 2, "--experience", "x.db")
    options = {"time": "1h", "experience": "x.db", "workers": "2", "images": "32k", "size": None, "init": None}
    assert asked == [(("digits", "a@labels"), options)]
    assert (code, out) == (0, "1 trials on 1 tasks, 0 failed: x.db\n")
    assert err == "digits: 1,439 training images\ndigits: energy distance 0.5 with abcdef, 32k images in 20.0 s\n"
    assert json.loads(run_command("learn", "digits", "--json")[1].splitlines()[1])["value"] == 0.5


def test_learn_passes_a_file_for_initial_weights(run_command, monkeypatch):
    asked = []

    def learn(*tasks, listener, init, **options):
        asked.append((tasks, init))
        listener({"kind": "source", "name": "a@labels", "tasks": 9, "images": 180})
        listener({"kind": "meta", "episodes": 400, "seconds": 20.0, "speed": 20.0, "loss": 0.5})
        return {"tasks": 9, "episodes": 400, "place": "w.safetensors"}

    monkeypatch.setitem(sys.modules, "mulligan.api", SimpleNamespace(learn=learn))
    code, out, err = run_command("learn", "a@labels", "--init", "w.safetensors")
    assert asked == [(("a@labels",), Path("w.safetensors"))]
    assert (code, out) == (0, "400 episodes of 9 tasks: w.safetensors\n")
    assert "a@labels: 9 tasks with 180 training images\n400 episodes in 20.0 s, 20 a second" in err


def test_experience_is_listed_drawn_exported_imported_merged_removed_and_verified(run_command, tmp_path):
    from mulligan.meta.experience import Experience

    own, other, file = (tmp_path / name for name in ("own.db", "other.db", "x.jsonl.gz"))
    for path, seeds in ((own, [0, 1]), (other, [1, 2])):
        made = Experience(path)
        made.add_task(task())
        made.add(some(seeds).trials.values())
    place = ["--experience", own]
    code, out, _ = run_command("experience", "list", *place)
    assert (code, out.splitlines()[1].split()[:3]) == (0, ["family/a", "2", "0"])
    assert f"best {SELECTS.at(EMBEDDING)}" in out
    assert "0.1250" in out
    assert json.loads(run_command("experience", "list", "--json", *place)[1])["tasks"][0]["best"] == 0.125
    page = tmp_path / "page.html"
    assert run_command("experience", "report", "-o", page, *place) == (0, f"{page}\n", "")
    assert "family/a" in page.read_text("utf-8")
    assert run_command("experience", "export", file, *place) == (0, f"{file}\n", "")
    assert run_command("experience", "verify", file)[:2] == (0, "nothing is damaged\n")
    merged = run_command("experience", "merge", other, *place)[1]
    assert merged.startswith(f"1 new of 2 trials in {other}, from now on of the source other.db@")
    assert run_command("experience", "merge", own, *place)[1].startswith(f"0 new of 3 trials in {own}")
    imported = run_command("experience", "import", file, "--source", "ada", "--experience", other)[1]
    assert imported == f"1 new of 2 trials in {file}, from now on of the source ada\n"
    assert "ada" in run_command("experience", "list", "--experience", other)[1]
    removed = run_command("experience", "remove", "--source", "ada", "--experience", other)
    assert removed == (0, "1 trials and 0 tasks removed\n", "")
    code, _, err = run_command("experience", "remove", "--source", "ada", "--experience", other)
    assert (code, err.count("\n")) == (1, 1)
    assert run_command("experience", "remove", *place)[0] == 2
    assert run_command("experience", "remove", "--task", "family/a", "--experience", tmp_path / "none.db")[0] == 1
    file.write_bytes(file.read_bytes()[:-50])
    code, out, _ = run_command("experience", "verify", file)
    assert (code, "damaged" in out) == (1, True)
    code, _, err = run_command("experience", "import", file, *place)
    assert (code, err.count("\n")) == (1, 1)


def test_rows_that_cannot_be_read_are_told_in_one_sentence(run_command, tmp_path):
    from mulligan.meta.experience import Experience

    own = tmp_path / "own.db"
    made = Experience(own)
    made.add_task(task())
    made.add(some([0, 1]).trials.values())
    with sqlite3.connect(own) as raw:
        raw.execute("UPDATE trials SET cost = 'not json' WHERE seed = 1")
    for command in (["list"], ["report", "-o", tmp_path / "page.html"]):
        code, _, err = run_command("experience", *command, "--experience", own)
        assert (code, err.count("\n")) == (0, 1)
        assert "1 row of the experience left out" in err


def test_every_experience_command_is_tested_here():
    group = typer.main.get_command(cli.app).commands["experience"]
    assert list(group.commands) == ["list", "report", "export", "import", "merge", "remove", "verify"]


@pytest.mark.slow
def test_ctrl_c_then_resume_then_everything_else(tmp_path):
    """The real thing, in processes of their own."""
    run = [sys.executable, "-c", "from mulligan.cli import main; main()"]
    long = [*run, "fit", "digits", "--images", "40k", "--out", "run", "--json"]
    with subprocess.Popen(long, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as training:
        next(line for line in training.stdout if json.loads(line)["kind"] == "chunk")
        training.send_signal(signal.SIGINT)
        events = [json.loads(line) for line in training.stdout]
        assert "mulligan resume run" in training.stderr.read()
    assert training.returncode == 130
    assert events[-1]["code"] == "interrupted"

    for command in (["resume", "run"], ["sample", "run", "-n", "4", "-o", "grid.png"], ["score", "run", "digits"]):
        done = subprocess.run([*run, *command], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert "Traceback" not in done.stderr
    assert "KID@" in done.stdout
    assert (tmp_path / "grid.png").exists()
    assert (tmp_path / "run" / "report.html").exists()


def test_every_command_is_tested_here():
    assert list(typer.main.get_command(cli.app).commands) == list(OPTIONS)


@pytest.mark.parametrize(
    ("command", "option", "table", "more"),
    [
        ("fit", "--race", "meta.race.allocation.ALLOCATIONS", ()),
        ("fit", "--strategy", "training.strategist.MODES", ()),
        ("fit", "--fit", "tasks.framing.FITS", ()),
        ("export", "--to", "exports.export.FORMATS", ()),
    ],
)
def test_the_choices_in_the_help_are_those_of_the_table(command, option, table, more):
    """Written out, since the tables are slow to import and help should be instant."""
    [found] = [
        parameter for parameter in typer.main.get_command(cli.app).commands[command].params if option in parameter.opts
    ]
    assert found.metavar == "|".join([*Named(table).names(), *more])
