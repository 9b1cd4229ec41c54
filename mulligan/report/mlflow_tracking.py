"""A run for MLflow: at a tracking server, in a database or in a folder of files."""

from __future__ import annotations

import time
from typing import Any

from mulligan.errors import optional_import
from mulligan.events import RolledBack, RunEvent
from mulligan.report.curve_log import Opening, picture, scalars
from mulligan.report.run import RunRecord

EXPERIMENT = "mulligan"
LONGEST = 500  # characters of a parameter that MLflow takes


def opening(place: str) -> Opening:
    """What begins a log at this place: a tracking URI of MLflow's, or a folder.

    Raises:
      MulliganError: MLflow is not installed.
    """
    with optional_import("its client", "a log for MLflow", "mlflow"):
        from mlflow import entities  # pyright: ignore[reportMissingImports]
        from mlflow.tracking import MlflowClient  # pyright: ignore[reportMissingImports]
    return lambda record: MLflowLog(MlflowClient(place), entities, record)


class MLflowLog:
    """One run of MLflow's, by its client and its `mlflow.entities`."""

    def __init__(self, client: Any, entities: Any, record: RunRecord):
        self.client, self.entities = client, entities
        known = client.get_experiment_by_name(EXPERIMENT)
        experiment = known.experiment_id if known else client.create_experiment(EXPERIMENT)
        self.id = client.create_run(experiment, run_name=record.folder.name).info.run_id
        asked = {"data": record.task.get("name"), "seed": record.run.get("seed"), **record.recipe.to_json()}
        params = [entities.Param(name, str(value)[:LONGEST]) for name, value in _flat(asked).items()]
        client.log_batch(self.id, params=params)

    def add(self, record: RunRecord, event: RunEvent) -> None:
        now, step = int(time.time() * 1000), int(event.nimg)  # milliseconds; an integer axis
        metrics = [self.entities.Metric(name, value, now, step) for name, value in scalars(event).items()]
        if metrics:
            self.client.log_batch(self.id, metrics=metrics)
        image = picture(record, event)
        if image is not None:
            self.client.log_image(self.id, image.convert("RGB"), f"samples/{step:012d}.png")
        if isinstance(event, RolledBack):
            self.client.set_tag(self.id, f"guard at {step}", f"{event.reason}: {event.action}")

    def back_to(self, nimg: float) -> None:
        """MLflow keeps what was written: the curve of an abandoned stretch stays, and its steps are written again."""

    def close(self, failed: bool) -> None:
        self.client.set_terminated(self.id, "FAILED" if failed else "FINISHED")


def _flat(document: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Every leaf of a JSON object under its path.

    Example:
      >>> _flat({"a": 1, "b": {"c": [2]}})
      {'a': 1, 'b.c': [2]}
    """
    leaves: dict[str, Any] = {}
    for name, value in document.items():
        leaves |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return leaves
