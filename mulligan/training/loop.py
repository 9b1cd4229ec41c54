"""One run: the only loop with I/O. Trains in compiled chunks, evaluates now and then, saves; can be killed anywhere."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

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
from mulligan.game.step import Game, GanState, scheduled
from mulligan.grid import save_grid
from mulligan.interrupt import Interrupt
from mulligan.networks.architecture import notes, parameter_count
from mulligan.schedules.closed import with_horizon
from mulligan.training import checkpoint, guard
from mulligan.training.budget import (
    evaluates_before_pause,
    next_evaluation_nimg,
    plan_by_clock,
    plan_by_cost,
    steps_left,
)
from mulligan.training.class_balance import ClassBalance
from mulligan.training.engine import ChunkInfo, Sampler, compile_engine, make_game, start_state
from mulligan.training.evaluation import Evaluator
from mulligan.training.feed import Feed
from mulligan.training.forks import factors, fork, fork_due, judge
from mulligan.training.progress import Evaluation, Progress
from mulligan.training.run_spec import RunSpec
from mulligan.training.session import Session, advance, copy_tree
from mulligan.training.snapshots import Snapshots
from mulligan.training.stop import converged, copied, improved, memorised
from mulligan.training.stopwatch import Stopwatch
from mulligan.training.strategist import Fork, Strategist
from mulligan.types import Pytree

CHECKPOINT_SECONDS = 60.0  # between checkpoints, at most, but for the length of a chunk
GRID_COLUMNS, GRID_ROWS = 8, 8
GRID_SEED = 0
UNPLANNED_NIMG = 1e9  # more than any run: until its length is known, schedules over all of it stand where they begin
MEANS = ("gen_loss", "disc_loss", "real_logit", "fake_logit", "penalty", "accuracy")  # of a chunk, that are told


class Loop:
    """A run in this process: begins it, or goes on from its newest checkpoint.

    `state` is on the device; `progress` is all else that a checkpoint holds; `best_gen` is the generator that scored
    best.
    """

    def __init__(self, spec: RunSpec):
        self.spec = spec
        self.folder, self.task, self.recipe = spec.folder, spec.task, spec.recipe
        self.budget = spec.budget
        self.sampler = Sampler.make(self.recipe.architecture, spec.classes)
        self.progress = Progress()
        self.snapshots = Snapshots(self.folder.path / "snapshots", self.recipe.averages)
        self.strategist = Strategist(self.recipe.strategy, self.recipe.strategy_prior)
        self.balance = self._balance() if self.recipe.balanced else None
        self.class_state: Any = self.balance.player.init() if self.balance else ()  # of the player over classes
        self.game = self._game(float(self.budget.images or UNPLANNED_NIMG))
        self.state = self._untrained()
        self.best_gen = copy_tree(next(iter(self.averages_to_evaluate().values())))
        self._interrupt = Interrupt()
        self._compiled: Session | None = None
        self._clock = Stopwatch(spec.started)
        self._saved = time.monotonic()
        self._start_or_resume()

    def train(self, enough: Callable[[Progress], bool] = lambda progress: False) -> None:
        """Trains until the budget is used up, nothing more is gained, the guard gives up, or it is `enough` for now.

        Then all is saved. The clock stands still until the next call, which goes on as if nothing had been between.

        Raises:
          Interrupted: Ctrl-C, SIGTERM or SIGHUP; the run is saved.
          MulliganError: the run cannot be written.
        """
        if self.progress.finished or enough(self.progress):
            return
        self._clock.go()
        self._saved = time.monotonic()
        programs = self._compiled = self._compiled or self._compile()
        with self._interrupt:
            while not self.progress.finished:
                self._round(programs)
                if self._interrupt.came and not self.progress.finished:
                    self._save()
                    self.emit(Stopped(reason="interrupted", code="interrupted"))
                    raise Interrupted(self.folder.path, Terminated(self._interrupt.came))
                if enough(self.progress) and not self.progress.finished:
                    self._pause()
                    self._clock.stop()
                    return

    def _pause(self) -> None:
        """Saves, and evaluates first where the last evaluation was long enough ago."""
        if evaluates_before_pause(self.progress):
            self._evaluate_and_checkpoint()
        else:
            self._save()

    def emit(self, event: RunEvent) -> None:
        """Writes an event with where the run stands, and passes it on."""
        stamped = dataclasses.replace(event, nimg=self.progress.nimg, seconds=round(self.seconds(), 3))
        self.folder.append(stamped)
        self.spec.emit(stamped.to_json())

    # --- before the first round

    def _game(self, horizon_nimg: float) -> Game:
        return make_game(self.recipe, self.task.shape, self.spec.classes, horizon_nimg)

    def _untrained(self) -> GanState:
        run = self.spec
        return start_state(self.game, self.recipe, self.task.shape, run.classes, run.seed, run.players)

    def _start_or_resume(self) -> None:
        saved, lost = checkpoint.newest(self.folder.path / "checkpoints")
        if saved is None:
            self.folder.truncate_events(0)
            self.snapshots.forget_after(0)
            self._write_samples()
            return
        self.progress = Progress.from_json(saved.progress)
        self._clock.before = self.progress.seconds
        self.state = checkpoint.restored(self.state, saved.arrays, "state")
        self.best_gen = checkpoint.restored(self.best_gen, saved.arrays, "best")
        self.strategist.state = checkpoint.restored(self.strategist.state, saved.arrays, "strategist")
        if self.balance:
            self.class_state = checkpoint.restored(self.class_state, saved.arrays, "classes")
        self.folder.truncate_events(self.progress.events_length)
        self.snapshots.forget_after(self.progress.nimg)
        if self.progress.extensions < self.spec.extensions:
            self._extend()
        if not self.progress.finished:
            self.emit(Resumed(from_nimg=self.progress.nimg, reason=" ".join(lost) or None))

    def _extend(self) -> None:
        """Plans for a larger budget, as if it had been the budget from here on; whatever ended the run is forgotten."""
        progress = self.progress
        progress.extensions, progress.finished, progress.code = self.spec.extensions, None, None
        progress.since_anchor = progress.copies = progress.attempts = progress.failures = 0
        if self.budget.images is None:
            plan_by_clock(progress, self.budget, self.spec.step_nimg)
        else:
            progress.horizon_nimg = float(self.budget.images)
        progress.planned = True
        progress.next_evaluation = next_evaluation_nimg(progress)
        self.game = self._game(progress.horizon_nimg)
        self.state = self.state._replace(schedule=self.game.schedule.init(self.recipe.hyperparameters))

    def _compile(self) -> Session:
        """The training program and the evaluator, made side by side; then the first checkpoint."""
        exact = self.budget.images is not None
        chances = self.balance.chances(self.class_state) if self.balance else None
        feed = Feed(self.task.train, self.spec.classes > 0, self.spec.seed, self.progress.blocks_drawn, exact, chances)
        pool = ThreadPoolExecutor(1, thread_name_prefix="compiling")
        try:
            compiling = pool.submit(compile_engine, self.game, self.state, feed.shapes())
            self.evaluator.warm(self.best_gen)
            engine = compiling.result()
        finally:
            pool.shutdown(wait=False)  # who interrupts does not wait for the compiler
        if not self.progress.sequence:
            step_flops = engine.flops_per_step
            self.progress.flops_per_image = step_flops / self.spec.step_nimg
            look_flops = self.evaluator.flops(self.progress.flops_per_image / 10, *self.task.shape[:2])
            plan_by_cost(self.progress, self.budget, self.spec.step_nimg, step_flops, look_flops)
            if self.budget.images is None:
                self.progress.chunk_steps = max(1, self.progress.chunk_steps // 4)  # the speed is not known yet
            self.progress.next_evaluation = self.spec.step_nimg * self.progress.chunk_steps
            self.folder.append(self.task.read_event())
            self.emit(
                TrainingStarted(
                    run=str(self.folder.path),
                    recipe_hash=self.recipe.hash(),
                    gen_parameters=parameter_count(self.state.gen),
                    disc_parameters=parameter_count(self.state.disc),
                    flops_per_image=self.progress.flops_per_image,
                    compile_seconds=round(engine.compile_seconds, 3),
                )
            )
            for note in notes(self.recipe.architecture, self.task.shape):
                self.emit(Noted(text=note))
            self._save()
        return Session(feed, engine, self.evaluator, self.spec.step_nimg)

    # --- one round

    def _round(self, programs: Session) -> None:
        """A fork where it is time, or a chunk and then whatever is due."""
        plan = fork_due(self.strategist, self.progress, self.budget)
        if plan:
            self._fork(programs, plan)
            return
        steps = min(self.progress.chunk_steps, self._steps_until_evaluation(), self._steps_left())
        if programs.feed.streams:  # in a longer chunk the same images would come again and again
            steps = min(steps, max(programs.feed.images // self.spec.step_nimg, 1))
        if steps > 0 and not self._train_on(programs, steps):
            self._roll_back(guard.NOT_FINITE)
        elif self._steps_left() <= 0:
            if self.progress.last_evaluation < self.progress.spent_nimg:
                self._evaluate_and_checkpoint()
            self._finish("budget exhausted", "budget")
        elif self.progress.spent_nimg >= self.progress.next_evaluation:
            self._evaluate_and_checkpoint()
        elif time.monotonic() - self._saved >= CHECKPOINT_SECONDS:
            self._save()

    def _steps_until_evaluation(self) -> int:
        return -(-(self.progress.next_evaluation - self.progress.spent_nimg) // self.spec.step_nimg)

    def _steps_left(self) -> int:
        self.progress.seconds = self.seconds()
        return steps_left(self.progress, self.budget, self.spec.step_nimg)

    def _train_on(self, programs: Session, steps: int) -> bool:
        """Trains `steps` steps, and says how it went; false when a number is no longer finite."""
        self.state, info, spent = advance(programs, self.state, steps, self.progress)
        self.progress.accuracy = min(self.progress.accuracy, float(info.means.accuracy))
        self._emit_chunk(info, steps * self.spec.step_nimg / spent)
        if self.budget.images is None:
            self._plan()
        if info.finite and self.snapshots.due(self.progress.nimg, self.progress.horizon_nimg):
            self._snap()
        return bool(info.finite)

    def _emit_chunk(self, info: ChunkInfo, speed: float) -> None:
        means: dict[str, Any] = {name: float(getattr(info.means, name)) for name in MEANS}
        values = scheduled(self.game, self.state)
        hyperparameters = {name: float(value) for name, value in values._asdict().items()}
        self.emit(ChunkTrained(images_per_second=round(speed, 1), **means, hyperparameters=hyperparameters))

    def _plan(self) -> None:
        """Turns a time budget into images, now that the speed is known."""
        self.progress.seconds = self.seconds()
        plan_by_clock(self.progress, self.budget, self.spec.step_nimg)
        if not self.progress.planned:
            self.game = self._game(self.progress.horizon_nimg)
            self.state = self.state._replace(schedule=self.game.schedule.init(self.recipe.hyperparameters))
            self.progress.planned = True
        else:
            schedule = with_horizon(self.state.schedule, self.progress.horizon_nimg)
            self.state = self.state._replace(schedule=schedule)

    def _evaluate_and_checkpoint(self) -> None:
        """Evaluates and judges; then saves, or goes back."""
        progress, gens = self.progress, self.averages_to_evaluate()
        evaluation = self._evaluate(gens)
        health = guard.Health(evaluation.kid, evaluation.diversity, progress.accuracy)
        reason = guard.reason_to_roll_back(progress, health)
        progress.accuracy = 1.0
        progress.last_evaluation = progress.spent_nimg
        self._write_samples()
        if reason:
            self._roll_back(reason)
            return
        if (not copied(progress, evaluation.ratio) or progress.best is None) and improved(progress, evaluation):
            self.best_gen = copy_tree(gens[evaluation.average])
        if self.strategist.mode == "switch":
            self._switch(evaluation)
        if self.balance:
            self._rebalance(self.balance, gens[evaluation.average])
        progress.next_evaluation = next_evaluation_nimg(progress)
        if not progress.first_judged and guard.can_be_judged(progress):
            progress.first_judged = progress.sequence
        self._save()
        for why, code in ((converged(progress), "converged"), (memorised(progress), "memorised")):
            if why:
                self._finish(why, code)

    def _evaluate(self, gens: dict[str, Pytree]) -> Evaluation:
        """Scores every average of this moment; the best of them."""
        began = time.monotonic()
        evaluations: list[Evaluation] = []
        for name, gen in gens.items():
            scores = self.evaluator(gen)
            figures = {key: scores[key] for key in ("kid", "kid_low", "kid_high", "diversity")}
            ratio = scores["memorisation"]["ratio"] if "memorisation" in scores else None
            evaluation = Evaluation(
                **figures, nimg=self.progress.nimg, average=name, sequence=self.progress.sequence, ratio=ratio
            )
            best = self.progress.best is None or evaluation.kid < self.progress.best.kid
            self.emit(Evaluated(average=name, **scores, best=best))
            evaluations.append(evaluation)
        spent = time.monotonic() - began
        self.progress.evaluation_seconds += spent
        self.progress.last_evaluation_seconds = spent
        return min(evaluations, key=lambda evaluation: evaluation.kid)

    def _balance(self) -> ClassBalance:
        embedding = self.evaluator.reference.embedding
        return ClassBalance.make(self.task.train, self.spec.classes, self.sampler, embedding)

    def _rebalance(self, balance: ClassBalance, gen: Pytree) -> None:
        """Shows classes oftener that are drawn worse than others."""
        assert self._compiled
        kids = balance.kids(gen)
        self.class_state = balance.player.observe(self.class_state, -kids)
        chances = balance.chances(self.class_state)
        self._compiled.feed.show(chances)
        names = self.task.classes or ()
        rows = zip(names, kids.tolist(), chances.tolist(), strict=True)
        self.emit(ClassesBalanced(classes=[ClassShare(name=name, kid=kid, share=share) for name, kid, share in rows]))

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
        return judged or averages or {"last": self.state.gen}

    def averages(self) -> dict[str, Pytree]:
        """Every average that the recipe keeps, as it stands."""
        return self.game.averager.value(self.state.averages)

    def _write_samples(self) -> None:
        latents = self.sampler.latents(GRID_COLUMNS * GRID_ROWS, GRID_SEED)
        name = f"samples/{self.progress.nimg:012d}.png"
        save_grid(
            self.folder.path / name,
            self.sampler(next(iter(self.averages_to_evaluate().values())), latents),
            GRID_COLUMNS,
        )
        self.emit(SamplesDrawn(path=name, rows=GRID_ROWS, columns=GRID_COLUMNS))

    # --- strategies

    def _fork(self, programs: Session, plan: Fork) -> None:
        """Tries strategies from this state; the first ones from that before any step, whatever was trained already."""
        self.progress.seconds = self.seconds()
        origin = self.state if plan.at else self._untrained()
        forked = fork(programs, self.strategist, plan, origin, self.progress, self.budget)
        if forked:
            self.state = forked.state
            weights = self.strategist.weights()
            self.emit(StrategyChosen(mode="fork", strategy=forked.strategy, weights=weights, losses=forked.losses))
            self._check_fork(forked.evaluation)

    def _check_fork(self, evaluation: Evaluation | None) -> None:
        """Goes back where the leader of a fork, the best of all, is worse than what the run had reached."""
        if evaluation is None:
            return
        reason = guard.runaway(evaluation.kid, self.progress.best) or guard.worse(evaluation, self.progress.before)
        if reason and guard.can_be_judged(self.progress):
            self._roll_back(reason)
        else:
            self.progress.before = evaluation

    def _switch(self, evaluation: Evaluation) -> None:
        """Judges the strategy that was played since the last evaluation, and draws the next."""
        loss = judge(self.strategist, evaluation, self.progress)
        self._set_strategy(self.strategist.drawn(self.spec.seed, self.progress.spent_nimg))
        weights = self.strategist.weights()
        self.emit(StrategyChosen(mode="switch", strategy=self.progress.strategy, weights=weights, loss=loss))

    def _set_strategy(self, name: str) -> None:
        self.progress.strategy = name
        self.state = self.state._replace(strategy=factors(name))

    # --- saving, going back, ending

    def _save(self) -> None:
        """Writes a checkpoint, and deletes those that are no longer needed."""
        progress, folder = self.progress, self.folder.path / "checkpoints"
        path = checkpoint.path_of(folder, progress.sequence)
        self.emit(CheckpointWritten(path=str(path.relative_to(self.folder.path))))
        progress.sequence += 1
        progress.seconds = self.seconds()
        progress.events_length = self.folder.events_length()
        kept = {"state": self.state, "best": self.best_gen, "strategist": self.strategist.state}
        kept |= {"classes": self.class_state} if self.balance else {}
        arrays = {
            name: array for part, tree in kept.items() for name, array in checkpoint.arrays_of(tree, part).items()
        }
        checkpoint.write(path, arrays, progress.to_json())
        checkpoint.prune(folder, keep={guard.good_checkpoint(progress)})
        self._saved = time.monotonic()

    def _snap(self) -> None:
        self.snapshots.write(self.progress.nimg, self.averages())

    def _roll_back(self, reason: str) -> None:
        """Returns to the last good checkpoint with gentler hyperparameters, or gives up."""
        progress = self.progress
        progress.failures = 0
        if progress.attempts >= guard.ATTEMPTS:
            why = f"{reason}, and going back {guard.ATTEMPTS} times did not help; the best generator is kept"
            self._finish(why, "guard")
            return
        progress.attempts += 1
        good = checkpoint.read(checkpoint.path_of(self.folder.path / "checkpoints", guard.good_checkpoint(progress)))
        state: GanState = checkpoint.restored(self.state, good.arrays, "state")
        # Other batches than those that failed.
        self.state = state._replace(key=jax.random.fold_in(state.key, progress.attempts))
        self._change_strategy()
        progress.nimg = good.progress["nimg"]
        progress.next_evaluation = max(next_evaluation_nimg(progress), progress.spent_nimg + 1)
        action = guard.sentence(self.state.strategy)
        self.emit(RolledBack(reason=reason, action=action, back_to_nimg=progress.nimg, attempt=progress.attempts))
        self._save()
        self.snapshots.forget_after(progress.nimg)

    def _change_strategy(self) -> None:
        """Where strategies are switched a failure ends the one that was played; else each attempt doubles a change."""
        strategist, progress = self.strategist, self.progress
        if strategist.mode == "switch" and len(strategist.awake()) > 1:
            strategist.fail(progress.strategy or strategist.names[0])
            progress.before = None
            self._set_strategy(strategist.leader())
            return
        strategy, factors = self.state.strategy, guard.SLOWER if strategist.mode == "fork" else guard.GENTLER
        for _ in range(progress.attempts):
            strategy = guard.gentler(strategy, factors)
        self.state = self.state._replace(strategy=strategy)

    def _finish(self, reason: str, code: str) -> None:
        if self.progress.finished:
            return
        if self.snapshots.names and code != "guard" and self.progress.nimg > self.snapshots.newest():
            self._snap()
        self.progress.finished, self.progress.code = reason, code
        self.emit(Stopped(reason=reason, code=code))
        self._save()

    def seconds(self) -> float:
        """Spent in this run so far, over all sessions."""
        return self._clock.seconds()
