"""How well the choice model foretells a language model: log loss, calibration and actions, with intervals.

Axes: ``n`` agents that answered, ``k`` sums over what is of an agent, ``b`` resamples of agents.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from oasis.actions import READ_ACTIONS, Action
from oasis.agents.choice.calibration import BINS, calibration_bins, error_by_chance
from oasis.agents.shadow.answers import Answers, Foretold
from oasis.agents.shadow.resampling import MIN_AGENTS, RESAMPLES, interval, resampled
from oasis.randomness import Draws

__all__ = ["Scores", "score", "surprise"]

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

LOSSES = ("log_loss", "entropy", "constant", "above_entropy", "above_constant")
"""Rows of `Scores.losses`."""


@dataclass(frozen=True)
class Scores:
    """What `score` found. All intervals are 2.5 to 97.5% of resamples of agents, null with too few
    of these, and where no resample differs from another.

    Attributes
    ----------
    losses : polars.DataFrame
        ``score``, ``value``, ``low``, ``high`` in nats per occasion: ``log_loss`` of the choice model on the language
        model's decisions; its ``entropy`` on the same occasions, which is the log loss to be expected if it had made
        them; log loss of ``constant`` shares; and ``log_loss`` less either (``above_entropy``, ``above_constant``).
    calibration_error : dict of float
        ``value``, ``low``, ``high``, and ``by_chance``: about what answers drawn from the choice model would give.
    calibration : polars.DataFrame
        Ten bins of the probability of acting: ``occasions``, ``expected``, ``observed``, ``low``, ``high``.
    shares : polars.DataFrame
        Actions per activation: ``action``; ``expected`` by the choice model of what the feed offers (null where it has
        no such expectation), ``recorded`` in the run, ``asked`` of the language model; ``difference`` of the last two
        with ``low`` and ``high``, and ``above_expected`` with ``above_expected_low`` and ``above_expected_high``.
    agents, occasions, actions, scored : int
        Agents with an answer; their occasions; actions of the language model, and how many of these were scored.
    """

    losses: pl.DataFrame
    calibration_error: dict[str, float | None]
    calibration: pl.DataFrame
    shares: pl.DataFrame
    agents: int
    occasions: int
    actions: int
    scored: int


def surprise(found: Foretold) -> tuple[F64, F64]:
    """Return the log loss of each occasion and its entropy, shape (r,), in nats.

    Log loss is ``-log q(k)`` of the option k that was taken, entropy ``-sum of q log q`` (Shannon 1948), with the
    choice model's probabilities q, examination included.
    """
    logs = np.log(np.maximum(found.chances, 1e-300))
    taken = np.take_along_axis(logs, found.asked[:, None], axis=1)[:, 0]
    return -taken, -(found.chances * logs).sum(axis=1)


def score(answers: Answers, draws: Draws, resamples: int = RESAMPLES) -> Scores:
    """Score the choice model on what a language model answered.

    Shares that are constant are those of the language model itself for each kind of occasion, so their log loss is that
    of the best model without features, and flattered a little by being fitted to the very answers.

    Raises
    ------
    ValueError
        If nobody answered.
    """
    activations = answers.activations().filter(pl.col("failed") < 0)
    agents = np.unique(activations["agent_id"].to_numpy())
    if not len(agents):
        raise ValueError("nobody answered")
    occasions = answers.occasions()
    sums = _Sums(len(agents))
    sums.add("activations", np.searchsorted(agents, activations["agent_id"].to_numpy()))
    _add_occasions(sums, occasions, agents)
    actions = _add_actions(sums, answers, activations, occasions, agents)

    expected = np.concatenate([np.zeros(0), *(1 - found.chances[:, 0] for found in occasions.values())])
    point = _statistics(sums, sums.table().sum(axis=0, keepdims=True))
    drawn = _statistics(sums, resampled(sums.table(), draws, resamples))
    bounds = {name: interval(values) for name, values in drawn.items()}
    if len(agents) < MIN_AGENTS:
        bounds = {name: (np.full_like(low, np.nan), np.full_like(high, np.nan)) for name, (low, high) in bounds.items()}
    taken = answers.actions("asked").filter(pl.col("action") != Action.DO_NOTHING)
    return Scores(
        _losses(point, bounds),
        {
            "value": _known(point["calibration_error"][0, 0]),
            "low": _known(bounds["calibration_error"][0][0]),
            "high": _known(bounds["calibration_error"][1][0]),
            "by_chance": error_by_chance(expected),
        },
        _calibration(point, bounds),
        _shares(actions, point, bounds),
        len(agents),
        sum(len(found) for found in occasions.values()),
        taken.height,
        sum(int((found.asked > 0).sum()) for found in occasions.values()),
    )


class _Sums:
    """Sums by agent, in named columns."""

    def __init__(self, agents: int) -> None:
        self._agents = agents
        self._columns: dict[str, list[F64]] = {}

    def add(self, name: str, rows: I64, values: F64 | None = None) -> None:
        """Add a column to `name`: the sum of `values` (or the number) by agent's row."""
        weights = None if values is None else values.astype(np.float64)
        column = np.bincount(rows, weights=weights, minlength=self._agents)
        self._columns.setdefault(name, []).append(column.astype(np.float64))

    def names(self) -> list[str]:
        return list(self._columns)

    def table(self) -> F64:
        """Return all columns, shape (n, k)."""
        return np.stack([column for columns in self._columns.values() for column in columns], axis=1)

    def split(self, totals: F64) -> dict[str, F64]:
        """Return totals, shape (b, k), by name."""
        ends = np.cumsum([len(columns) for columns in self._columns.values()])
        return dict(zip(self._columns, np.split(totals, ends[:-1], axis=1), strict=True))


def _add_occasions(sums: _Sums, occasions: Mapping[str, Foretold], agents: npt.NDArray[np.int32]) -> None:
    rows = {kind: np.searchsorted(agents, found.agent) for kind, found in occasions.items()}
    every = np.concatenate([np.zeros(0, np.int64), *rows.values()])
    losses = [surprise(found) for found in occasions.values()]
    sums.add("occasions", every)
    sums.add("log_loss", every, np.concatenate([np.zeros(0), *(loss for loss, _ in losses)]))
    sums.add("entropy", every, np.concatenate([np.zeros(0), *(entropy for _, entropy in losses)]))
    for kind, found in occasions.items():
        for option in range(len(found.actions)):
            sums.add(f"taken.{kind}", rows[kind], found.asked == option)
    expected = np.concatenate([np.zeros(0), *(1 - found.chances[:, 0] for found in occasions.values())])
    acted = np.concatenate([np.zeros(0), *(found.asked > 0 for found in occasions.values())])
    bins = calibration_bins(expected)
    for number in range(BINS):
        here = bins == number
        sums.add("bin.occasions", every[here])
        sums.add("bin.expected", every[here], expected[here])
        sums.add("bin.observed", every[here], acted[here])


def _add_actions(
    sums: _Sums,
    answers: Answers,
    activations: pl.DataFrame,
    occasions: Mapping[str, Foretold],
    agents: npt.NDArray[np.int32],
) -> list[tuple[Action, bool]]:
    """Add actions by agent; return which, those on menus first, and whether the choice model has an expectation."""
    menus = {option: (kind, place) for kind, found in occasions.items() for place, option in enumerate(found.actions)}
    menus.pop(Action.DO_NOTHING, None)
    taken = {}
    for of in ("asked", "recorded"):
        frame = answers.actions(of).join(activations, on=["step", "agent_id"], how="semi")
        taken[of] = frame.filter(~pl.col("action").is_in([int(a) for a in (Action.DO_NOTHING, *READ_ACTIONS)]))
    others = {Action(code) for frame in taken.values() for code in frame["action"].unique()} - menus.keys()
    for action in [*menus, *sorted(others)]:
        for of, frame in taken.items():
            who = frame.filter(pl.col("action") == int(action))["agent_id"].to_numpy()
            sums.add(f"actions.{of}", np.searchsorted(agents, who))
        if action in menus:
            kind, place = menus[action]
            found = occasions[kind]
            sums.add("actions.expected", np.searchsorted(agents, found.agent), found.chances[:, place])
        else:
            sums.add("actions.expected", np.zeros(0, np.int64))
    for of, frame in taken.items():
        idle = activations.join(frame, on=["step", "agent_id"], how="anti")["agent_id"].to_numpy()
        sums.add(f"actions.{of}", np.searchsorted(agents, idle))
    sums.add("actions.expected", np.zeros(0, np.int64))
    return [*((a, True) for a in menus), *((a, False) for a in sorted(others)), (Action.DO_NOTHING, False)]


def _statistics(sums: _Sums, totals: F64) -> dict[str, F64]:
    """Return what is wanted of totals, shape (b, k): each of shape (b, number of columns)."""
    by = sums.split(totals)
    occasions = by["occasions"]
    loss, entropy = _over(by["log_loss"], occasions), _over(by["entropy"], occasions)
    constant = np.zeros((len(totals), 1))
    for name in sums.names():
        if name.startswith("taken."):
            share = _over(by[name], by[name].sum(axis=1, keepdims=True))
            logs = np.log(share, out=np.zeros_like(share), where=share > 0)
            constant -= (by[name] * logs).sum(axis=1, keepdims=True)
    constant = _over(constant, occasions)
    off = np.abs(by["bin.expected"] - by["bin.observed"]).sum(axis=1, keepdims=True)
    shares = {of: _over(by[f"actions.{of}"], by["activations"]) for of in ("expected", "recorded", "asked")}
    return {
        "log_loss": loss,
        "entropy": entropy,
        "constant": constant,
        "above_entropy": loss - entropy,
        "above_constant": loss - constant,
        "calibration_error": _over(off, occasions),
        "bin.occasions": by["bin.occasions"],
        "bin.expected": _over(by["bin.expected"], by["bin.occasions"]),
        "bin.observed": _over(by["bin.observed"], by["bin.occasions"]),
        **shares,
        "difference": shares["asked"] - shares["recorded"],
        "above_expected": shares["asked"] - shares["expected"],
    }


def _over(values: F64, of: F64) -> F64:
    """Return quotients, NaN where there is nothing to divide by."""
    shape = np.broadcast_shapes(values.shape, of.shape)
    return np.divide(values, of, out=np.full(shape, np.nan), where=np.broadcast_to(of, shape) > 0)


Bounds = Mapping[str, tuple[F64, F64]]


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _losses(point: Mapping[str, F64], bounds: Bounds) -> pl.DataFrame:
    rows = [(name, point[name][0, 0], bounds[name][0][0], bounds[name][1][0]) for name in LOSSES]
    schema = {"score": pl.String, "value": pl.Float64, "low": pl.Float64, "high": pl.Float64}
    return pl.DataFrame(rows, schema, orient="row").fill_nan(None)


def _calibration(point: Mapping[str, F64], bounds: Bounds) -> pl.DataFrame:
    low, high = bounds["bin.observed"]
    columns = {
        "occasions": point["bin.occasions"][0].astype(np.int64),
        "expected": point["bin.expected"][0],
        "observed": point["bin.observed"][0],
        "low": low,
        "high": high,
    }
    return pl.DataFrame(columns).filter(pl.col("occasions") > 0).fill_nan(None)


def _shares(actions: list[tuple[Action, bool]], point: Mapping[str, F64], bounds: Bounds) -> pl.DataFrame:
    expects = np.array([known for _, known in actions])
    columns = {
        "action": [action.label for action, _ in actions],
        "expected": np.where(expects, point["expected"][0], np.nan),
        "recorded": point["recorded"][0],
        "asked": point["asked"][0],
        "difference": point["difference"][0],
        "low": bounds["difference"][0],
        "high": bounds["difference"][1],
        "above_expected": np.where(expects, point["above_expected"][0], np.nan),
        "above_expected_low": np.where(expects, bounds["above_expected"][0], np.nan),
        "above_expected_high": np.where(expects, bounds["above_expected"][1], np.nan),
    }
    return pl.DataFrame(columns).fill_nan(None)
