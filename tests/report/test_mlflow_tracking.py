"""MLflow: what its client is told, by a stand-in; and that the real library keeps it."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from mulligan.errors import MulliganError
from mulligan.events import ChunkTrained
from mulligan.report.follow import write_curves
from mulligan.report.run import read_run


@pytest.fixture
def client(monkeypatch):
    """Stands in for MLflow's client, and remembers what it is told."""
    told = SimpleNamespace(params={}, metrics=[], images=[], tags={}, ended=[], place=None)

    class Client:
        def __init__(self, place):
            told.place = place

        def get_experiment_by_name(self, name):
            return None

        def create_experiment(self, name):
            return f"of {name}"

        def create_run(self, experiment, run_name):
            return SimpleNamespace(info=SimpleNamespace(run_id=(experiment, run_name)))

        def log_batch(self, run, metrics=(), params=()):
            told.params |= dict(params)
            told.metrics += metrics

        def log_image(self, run, image, file):
            told.images.append((image.mode, file))

        def set_tag(self, run, name, value):
            told.tags[name] = value

        def set_terminated(self, run, status):
            told.ended.append((run, status))

    library, tracking, entities = (ModuleType(name) for name in ("mlflow", "mlflow.tracking", "mlflow.entities"))
    tracking.MlflowClient = Client
    entities.Param = lambda name, value: (name, value)
    entities.Metric = lambda name, value, now, step: (name, value, step)
    library.entities = entities
    for module in (library, tracking, entities):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return told


def test_what_is_told_are_the_recipe_and_the_kept_events(light, client):
    write_curves(light, "mlflow", "http://localhost:5000")
    assert client.place == "http://localhost:5000"
    assert client.params["data"] == "digits"
    assert client.params["architecture.family"] == read_run(light).recipe.architecture.family
    losses = [(value, step) for name, value, step in client.metrics if name == "train/gen_loss"]
    assert losses == [(event.gen_loss, event.nimg) for event in read_run(light).kept(ChunkTrained)]
    assert any(name == "test/power_10/precision" for name, _, _ in client.metrics)
    assert all(mode == "RGB" and file.startswith("samples/0") for mode, file in client.images)
    assert client.images
    assert any("halved" in said for said in client.tags.values())
    assert client.ended == [(("of mulligan", light.name), "FINISHED")]


def test_without_the_library_it_says_so(light, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    monkeypatch.setitem(sys.modules, "mlflow.tracking", None)
    with pytest.raises(MulliganError, match=r"pip install 'mulligan\[mlflow\]'"):
        write_curves(light, "mlflow", "x")


@pytest.mark.slow
def test_the_real_library_keeps_it(light, tmp_path):
    tracking = pytest.importorskip("mlflow.tracking", reason="the mlflow extra is not installed")
    place = f"sqlite:///{tmp_path}/runs.db"
    write_curves(light, "mlflow", place)
    client = tracking.MlflowClient(place)
    [run] = client.search_runs([client.get_experiment_by_name("mulligan").experiment_id])
    assert run.info.status == "FINISHED"
    assert len(client.get_metric_history(run.info.run_id, "train/gen_loss")) == len(read_run(light).kept(ChunkTrained))
