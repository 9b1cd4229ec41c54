"""One run: the only loop with I/O. Decides, does and notes, in rounds; can be killed anywhere.

Decisions are pure functions of what has been seen (`training.decisions`).
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax

from mulligan.errors import Interrupted, Terminated
from mulligan.events import (
    CheckpointWritten,
    ChunkTrained,
    ClassesBalanced,
    ClassShare,
    Evaluated,
    Noted,
    Resumed,
    RolledBack,
    RunEvent,
    SamplesDrawn,
    Stopped,
    StrategyChosen,
    TrainingStarted,
)
from mulligan.game.step import GanState, scheduled
from mulligan.grid import save_grid
from mulligan.interrupt import Interrupt
from mulligan.networks.architecture import notes, parameter_count
from mulligan.schedules.closed import with_horizon
from mulligan.training import checkpoint, decisions, guard
from mulligan.training.budget import Budget, evaluates_before_pause, plan_by_cost, steps_left
from mulligan.training.class_balance import ClassBalance
from mulligan.training.decisions import USED_UP, Action, Bounds, Evaluate, RollBack, Save, Stop, Train
from mulligan.training.engine import Sampler, make_game, start_state
from mulligan.training.evaluation import Evaluator
from mulligan.training.feed import Feed
from mulligan.training.forks import factors, fork
from mulligan.training.mesh import data_mesh, on_mesh, replicated
from mulligan.training.progress import Evaluation, Progress
from mulligan.training.run_spec import RunSpec
from mulligan.training.session import Session, advance, copy_tree, evaluate, open_session
from mulligan.training.snapshots import Snapshots
from mulligan.training.stopwatch import Stopwatch
from mulligan.training.strategist import Fork, Strategist
from mulligan.types import Pytree

GRID_COLUMNS, GRID_ROWS, GRID_SEED = 8, 8, 0
UNPLANNED_NIMG = 1e9  # more than any run: until its length is known, schedules over all of it stand where they begin
MEANS = ("gen_loss", "disc_loss", "real_logit", "fake_logit", "penalty", "accuracy")  # of a chunk, that are told


class RunState(NamedTuple):
    """All of a run that changes, and all that a checkpoint holds.

    Attributes:
      progress: what has been seen of it.
      gan: both players, on the device.
      best_gen: the generator that scored best.
      strategist: as far as it has learned.
      classes: of the player over classes; () where there is none.
    """

    progress: Progress
    gan: GanState
    best_gen: Pytree
    strategist: Strategist
    classes: Any

    def trees(self) -> dict[str, Pytree]:
        """The arrays of a checkpoint."""
        return {
            "state": self.gan, "best": self.best_gen, "strategist": self.strategist.state, "classes": self.classes
        }  # fmt: skip


class Loop:
    """A run in this process: begins it, or goes on from its newest checkpoint. `now` is how it stands."""

    def __init__(self, spec: RunSpec):
        """Opens the run.

        Raises:
          MulliganError: the recipe contradicts itself or the task, or the folder is of another run.
        """
        self.spec = spec
        self.folder, self.task, self.recipe, self.budget = spec.folder, spec.task, spec.recipe, spec.budget
        self.sampler = Sampler.make(self.recipe.architecture, spec.classes)
        self.snapshots = Snapshots(self.folder.path / "snapshots", self.recipe.averages)
        self._interrupt = Interrupt()
        self._session: Session | None = None
        strategist = Strategist.make(self.recipe.strategy, self.recipe.strategy_prior)
        self.balance: ClassBalance | None = None
        if self.recipe.balanced:
            embedding = self.evaluator.reference.embedding
            self.balance = ClassBalance.make(self.task.train, spec.classes, self.sampler, embedding)
        horizon_nimg = float(self.budget.images or UNPLANNED_NIMG)
        game = make_game(self.recipe, self.task.shape, spec.classes, horizon_nimg)
        self.game = on_mesh(game, data_mesh(self.recipe.batch, self.task.shape))
        self._scheduled = jax.jit(partial(scheduled, self.game))  # some thirty programs where it is not one

        saved, lost = checkpoint.newest(self.folder.path / "checkpoints")
        progress = Progress.from_json(saved.progress) if saved else Progress()
        self._clock = Stopwatch(spec.started, progress.seconds)
        gan, classes = self._untrained(), self.balance.player.init() if self.balance else ()
        self.now = RunState(progress, gan, gan.gen, strategist, classes)
        self._note(best_gen=copy_tree(next(iter(self.averages_to_evaluate().values()))))
        # What a killed process wrote after its last checkpoint is written again.
        self.folder.truncate_events(progress.events_length)
        self.snapshots.forget_after(progress.nimg)
        if saved is None:
            self._write_samples()
            return
        trees = {part: checkpoint.restored(tree, saved.arrays, part) for part, tree in self.now.trees().items()}
        trees |= replicated({part: trees[part] for part in ("state", "best")}, self.game.mesh)
        strategist = replace(strategist, state=trees["strategist"])
        self._note(gan=trees["state"], best_gen=trees["best"], strategist=strategist, classes=trees["classes"])
        if progress.extensions < spec.extensions:
            progress = decisions.after_extension(progress, self._bounds(), spec.extensions)
            fresh = self.game.schedule.init(self.recipe.hyperparameters)
            self._note(
                progress=progress, gan=self.now.gan._replace(schedule=with_horizon(fresh, progress.horizon_nimg))
            )
        if not progress.finished:
            self.emit(Resumed(from_nimg=progress.nimg, reason=" ".join(lost) or None))

    def train(self, enough: Callable[[Progress], bool] = lambda progress: False, budget: Budget | None = None) -> None:
        """Trains until the budget is used up, nothing more is gained, the guard gives up, or it is `enough` for now.

        Then all is saved. The clock stands still until the next call, which goes on as if nothing had been between.

        Args:
          enough: whether to pause, asked after each round.
          budget: from now on; None for the one that there was.

        Raises:
          Interrupted: Ctrl-C, SIGTERM or SIGHUP; the run is saved.
          MulliganError: the run cannot be written.
        """
        if self.now.progress.finished:
            return
        if enough(self.now.progress):  # as it was when it was saved
            self._clock = Stopwatch(None, self.seconds())
            return
        self.budget = budget or self.budget
        if self._clock.since is None:
            self._clock = self._clock._replace(since=time.monotonic())
        session = self._session = self._session or self._open()
        with self._interrupt:
            while not self.now.progress.finished:
                self._note(progress=replace(self.now.progress, seconds=self.seconds()))
                self._perform(decisions.next_action(self.now.progress, self._bounds(session)), session)
                if self.now.progress.finished:
                    return
                if self._interrupt.came:
                    self._save()
                    self.emit(Stopped(reason="interrupted", code="interrupted"))
                    raise Interrupted(self.folder.path, Terminated(self._interrupt.came))
                # With nothing left, it ends in the next round.
                if enough(self.now.progress) and steps_left(self.now.progress, self.budget, self.spec.step_nimg) > 0:
                    self._perform(Evaluate() if evaluates_before_pause(self.now.progress) else Save(), session)
                    self._clock = Stopwatch(None, self.seconds())
                    if self._interrupt.came:
                        raise Interrupted(self.folder.path, Terminated(self._interrupt.came))
                    return

    def _perform(self, action: Action | None, session: Session) -> None:
        """Does one thing after the other, each of which says what must follow; None for nothing."""
        while action is not None:
            match action:
                case Train(steps):
                    action = self._train(session, steps)
                case Fork():
                    action = self._fork(session, action)
                case Evaluate(last):
                    action = self._evaluate(session, last)
                case RollBack(reason):
                    action = self._roll_back(reason)
                case Stop(reason, code):
                    action = self._stop(reason, code)
                case Save():
                    action = self._save()

    def _bounds(self, session: Session | None = None) -> Bounds:
        most_steps = math.inf
        if session and session.feed.streams:  # in a longer chunk the same images would come again and again
            most_steps = max(session.feed.images // session.step_nimg, 1)
        return Bounds(self.budget, self.spec.step_nimg, most_steps, self.now.strategist.mode == "fork")

    def _note(self, **parts: Any) -> None:
        """The only place where anything of a run changes."""
        self.now = self.now._replace(**parts)

    def emit(self, event: RunEvent) -> None:
        """Writes an event with where the run stands, and passes it on.

        Raises:
          MulliganError: the disk is full, or the folder was deleted.
        """
        stamped = dataclasses.replace(event, nimg=self.now.progress.nimg, seconds=round(self.seconds(), 3))
        self.folder.append(stamped)
        self.spec.emit(stamped.to_json())

    def seconds(self) -> float:
        """Spent in this run so far, over all sessions."""
        return self._clock.seconds()

    def _untrained(self) -> GanState:
        run = self.spec
        state = start_state(self.game, self.recipe, self.task.shape, run.classes, run.seed, run.players)
        return replicated(state, self.game.mesh)

    def _open(self) -> Session:
        """What trains and what judges; with the first one of a run, its plan and its first checkpoint."""
        # Where images are the budget, nothing may depend on how fast they are read.
        progress, exact = self.now.progress, self.budget.images is not None
        chances = self.balance.chances(self.now.classes) if self.balance else None
        feed = Feed(
            self.task.train,
            self.spec.classes > 0,
            self.spec.seed,
            progress.blocks_drawn,
            exact,
            chances,
            self.game.mesh,
        )
        session = open_session(self.game, self.now.gan, feed, lambda: self.evaluator, self.now.best_gen)
        if progress.sequence:
            return session
        step_flops, step_nimg = session.engine.flops_per_step, session.step_nimg
        progress = replace(progress, flops_per_image=step_flops / step_nimg)
        look_flops = self.evaluator.flops(progress.flops_per_image / 10, *self.task.shape[:2])
        self._note(progress=plan_by_cost(progress, self.budget, step_nimg, step_flops, look_flops))
        self.folder.append(self.task.read_event())
        self.emit(
            TrainingStarted(
                run=str(self.folder.path),
                recipe_hash=self.recipe.hash(),
                gen_parameters=parameter_count(self.now.gan.gen),
                disc_parameters=parameter_count(self.now.gan.disc),
                flops_per_image=progress.flops_per_image,
                compile_seconds=round(session.engine.compile_seconds, 3),
            )
        )
        for note in notes(self.recipe.architecture, self.task.shape):
            self.emit(Noted(text=note))
        self._save()
        return session

    # --- what is done: each notes what came of it, and returns what must follow

    def _train(self, session: Session, steps: int) -> Action | None:
        before = self.now.progress
        gan, info, progress = advance(session, self.now.gan, steps, before)
        self._note(gan=gan, progress=replace(progress, seconds=self.seconds()))
        speed = steps * session.step_nimg / (progress.training_seconds - before.training_seconds)
        means: dict[str, Any] = {name: float(getattr(info.means, name)) for name in MEANS}
        hyperparameters = {name: float(value) for name, value in self._scheduled(gan)._asdict().items()}
        self.emit(ChunkTrained(images_per_second=round(speed, 1), **means, hyperparameters=hyperparameters))
        progress, then = decisions.after_chunk(self.now.progress, info, self._bounds(session))
        if progress.horizon_nimg != before.horizon_nimg:
            schedule = gan.schedule if before.planned else self.game.schedule.init(self.recipe.hyperparameters)
            gan = gan._replace(schedule=with_horizon(schedule, progress.horizon_nimg))
        self._note(gan=gan, progress=progress)
        if then is None and self.snapshots.due(progress.nimg, progress.horizon_nimg):
            self.snapshots.write(progress.nimg, self.averages())
        return then

    def _fork(self, session: Session, plan: Fork) -> Action | None:
        """Tries strategies from this state; the first ones from that before any step, whatever was trained already."""
        origin = self.now.gan
        if not plan.at:
            untrained = self._untrained()  # it knows nothing of the run's length
            schedule = with_horizon(untrained.schedule, self.now.progress.horizon_nimg)
            origin = untrained._replace(schedule=schedule)
        forked = fork(session, self.now.strategist, plan, origin, self.now.progress, self.budget)
        self._note(strategist=forked.strategist, progress=forked.progress)
        if not forked.losses:
            return None
        self._note(gan=forked.state)
        weights, losses = forked.strategist.weights(), list(forked.losses)
        self.emit(StrategyChosen(mode="fork", strategy=forked.strategy, weights=weights, losses=losses))
        progress, then = decisions.after_fork(forked.progress, forked.evaluation)
        self._note(progress=progress)
        return then

    def _evaluate(self, session: Session, last: bool) -> Action:
        """Scores every average of this moment, and judges the best of them."""
        gens, progress = self.averages_to_evaluate(), self.now.progress
        evaluations: list[Evaluation] = []
        for name, gen in gens.items():
            scores, progress = evaluate(session, gen, progress)
            evaluations.append(Evaluation.of(scores, name, progress))
            best = progress.best is None or evaluations[-1].value < progress.best.value
            self.emit(Evaluated(average=name, **scores, best=best))
        spent = progress.evaluation_seconds - self.now.progress.evaluation_seconds
        evaluation = min(evaluations, key=lambda each: each.value)
        progress, then = decisions.after_evaluation(replace(progress, last_evaluation_seconds=spent), evaluation)
        self._note(progress=progress)
        self._write_samples()
        if progress.best is evaluation:
            self._note(best_gen=copy_tree(gens[evaluation.average]))
        if isinstance(then, RollBack) or (isinstance(then, Stop) and then.code == "guard"):
            return then
        # Also where the run ends: it may go on with a larger budget.
        if self.now.strategist.mode == "switch":
            self._switch(evaluation)
        if self.balance:
            self._rebalance(self.balance, session.feed, gens[evaluation.average])
        return then or (USED_UP if last else Save())

    def _switch(self, evaluation: Evaluation) -> None:
        """Judges the strategy that was played since the last evaluation, and draws the next."""
        progress, strategist, loss = self.now.progress, self.now.strategist, None
        if progress.strategy and progress.before:
            strategist, loss = strategist.judged(progress.strategy, progress.before, evaluation)
        name = strategist.drawn(self.spec.seed, progress.spent_nimg)
        progress = replace(progress, before=evaluation, strategy=name)
        self._note(strategist=strategist, progress=progress, gan=self.now.gan._replace(strategy=factors(name)))
        self.emit(StrategyChosen(mode="switch", strategy=name, weights=strategist.weights(), loss=loss))

    def _rebalance(self, balance: ClassBalance, feed: Feed, gen: Pytree) -> None:
        """Shows classes oftener that are drawn worse than others."""
        kids = balance.kids(gen)
        self._note(classes=balance.player.observe(self.now.classes, -kids))
        chances = balance.chances(self.now.classes)
        feed.show(chances)
        rows = zip(self.task.classes or (), kids.tolist(), chances.tolist(), strict=True)
        self.emit(ClassesBalanced(classes=[ClassShare(name=name, kid=kid, share=share) for name, kid, share in rows]))

    def _roll_back(self, reason: str) -> None:
        """Returns to the last good checkpoint with gentler hyperparameters."""
        strategist, sequence = self.now.strategist, guard.good_checkpoint(self.now.progress)
        good = checkpoint.read(checkpoint.path_of(self.folder.path / "checkpoints", sequence))
        progress = decisions.after_rollback(self.now.progress, good.progress["nimg"])
        gan: GanState = checkpoint.restored(self.now.gan, good.arrays, "state")
        if strategist.mode == "switch" and len(strategist.awake()) > 1:  # a failure ends the strategy that was played
            strategist = strategist.without(progress.strategy or strategist.names[0])
            progress = replace(progress, before=None, strategy=strategist.leader())
            strategy = factors(strategist.leader())
        else:  # each attempt doubles a change
            strategy = gan.strategy
            for _ in range(progress.attempts):
                strategy = guard.gentler(strategy, guard.SLOWER if strategist.mode == "fork" else guard.GENTLER)
        # With the same key the batches that failed would come again.
        key = jax.random.fold_in(gan.key, progress.attempts)
        self._note(progress=progress, strategist=strategist, gan=gan._replace(key=key, strategy=strategy))
        action = guard.sentence(strategy)
        self.emit(RolledBack(reason=reason, action=action, back_to_nimg=progress.nimg, attempt=progress.attempts))
        self._save()
        self.snapshots.forget_after(progress.nimg)

    def _stop(self, reason: str, code: str) -> None:
        progress = self.now.progress
        if self.snapshots.names and code != "guard" and progress.nimg > self.snapshots.newest():
            self.snapshots.write(progress.nimg, self.averages())
        self._note(progress=replace(progress, finished=reason, code=code))
        self.emit(Stopped(reason=reason, code=code))
        self._save()

    def _save(self) -> None:
        """Writes a checkpoint, and deletes those that are no longer needed."""
        folder = self.folder.path / "checkpoints"
        path = checkpoint.path_of(folder, self.now.progress.sequence)
        # Told before it is written: the event belongs to the bytes that a resumed run keeps.
        self.emit(CheckpointWritten(path=str(path.relative_to(self.folder.path))))
        progress = decisions.after_save(self.now.progress, self.seconds(), self.folder.events_length())
        self._note(progress=progress)
        parts = [checkpoint.arrays_of(tree, part) for part, tree in self.now.trees().items()]
        arrays = {name: array for part in parts for name, array in part.items()}
        checkpoint.write(path, arrays, progress.to_json())
        checkpoint.prune(folder, keep={guard.good_checkpoint(progress)})

    # --- what a run is judged by

    @cached_property
    def evaluator(self) -> Evaluator:
        """On the validation images."""
        return Evaluator.make(self.task, self.sampler, "validation", self.folder.embedding())

    def averages_to_evaluate(self) -> dict[str, Pytree]:
        """The generators that a run is judged by: its averages, or the last iterate where it keeps none.

        Those that are kept for snapshots cost an evaluation each, and wait for the end where there are others.
        """
        averages = self.averages()
        judged = {name: gen for name, gen in averages.items() if name not in self.snapshots.names}
        return judged or averages or {"last": self.now.gan.gen}

    def averages(self) -> dict[str, Pytree]:
        """Every average that the recipe keeps, as it stands."""
        return self.game.averager.value(self.now.gan.averages)

    def _write_samples(self) -> None:
        gen = next(iter(self.averages_to_evaluate().values()))
        latents = self.sampler.latents(GRID_COLUMNS * GRID_ROWS, GRID_SEED)
        name = f"samples/{self.now.progress.nimg:012d}.png"
        save_grid(self.folder.path / name, self.sampler(gen, latents), GRID_COLUMNS)
        self.emit(SamplesDrawn(path=name, rows=GRID_ROWS, columns=GRID_COLUMNS))
