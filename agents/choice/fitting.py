"""Fitting the choice model to recorded decisions, and scoring it on agents and steps that were held out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.stats import binomtest

from oasis.agents.choice.calibration import calibration_error, calibration_table
from oasis.agents.choice.choice_data import KINDS, ChoiceData
from oasis.agents.choice.fit_data import READINGS, recorded_choices
from oasis.agents.choice.likelihood import Estimate, estimate, log_likelihoods, probabilities
from oasis.agents.choice.model import FEATURES
from oasis.errors import InputError
from oasis.randomness import Draws

__all__ = ["Fit", "fit_choices"]

F64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

HELD_OUT = 0.2
"""Share of agents, drawn, and of steps, the last ones, that a fit does not see."""


@dataclass(frozen=True)
class Fit:
    """A fitted model.

    Attributes
    ----------
    policy : str
        Whose decisions were fitted.
    reading : (float, float)
        ``persistence`` and ``comments``, of those tried the most likely; ``first`` is 1.
    readings : polars.DataFrame
        ``persistence``, ``comments``, ``log_likelihood`` of the intercepts alone with each.
    coefficients : polars.DataFrame
        ``action``, ``feature``, ``begun`` (before the fit), ``value``, ``error`` (standard error; null for what was not
        fitted), ``known`` (whether the data say more than the prior), ``taken`` (how often the action was, in what was
        fitted).
    scores : polars.DataFrame
        ``part`` (fitted, other agents, later steps), ``occasions``, and the log loss per occasion of the fitted model,
        of the one that it began from, and of intercepts alone.
    calibration : polars.DataFrame
        Of what was held out, ten bins of the probability of acting: ``occasions``, ``expected``, ``observed``.
    shares : polars.DataFrame
        Of what was held out: ``action``, ``expected`` per occasion, ``observed``, ``low``, ``high`` (95%, Wilson 1927).
    counts : dict of int
    """

    policy: str
    reading: tuple[float, float]
    readings: pl.DataFrame
    coefficients: pl.DataFrame
    scores: pl.DataFrame
    calibration: pl.DataFrame
    shares: pl.DataFrame
    counts: dict[str, int]

    @property
    def calibration_error(self) -> float:
        """Expected calibration error (`calibration_error`)."""
        return calibration_error(self.calibration)

    def to_toml(self) -> str:
        """Return an entry of ``[[policies]]`` with what was fitted and is known."""
        persistence, comments = self.reading
        lines = ["[[policies]]", 'kind = "choice"', "", "[policies.parameters]", "first = 1.0"]
        lines += [f"persistence = {persistence}", f"comments = {comments}"]
        for (action,), part in self.coefficients.group_by("action", maintain_order=True):
            lines += ["", f"[policies.parameters.coefficients.{action}]"]
            lines += [f"{row['feature']} = {row['value']:.4f}" for row in part.iter_rows(named=True)]
        return "\n".join(lines) + "\n"


def fit_choices(directory: Path, policy: str | None = None, seed: int = 0) -> Fit:
    """Fit the choice model to decisions of a run.

    For each way of reading (`READINGS`) intercepts are fitted; with the most likely way, all coefficients of features
    that vary. Kinds of occasions have likelihoods of their own; that a comment is read only where its post is enters
    its probability, not the likeness of neighbours (a composite likelihood, Varin, Reid and Firth 2011), so standard
    errors are clustered by agent.

    Parameters
    ----------
    policy : str, optional
        Its name in the run; not needed where the run has one.
    seed : int
        Draws the agents that are held out.

    Raises
    ------
    InputError
        If there is nothing to fit.
    """
    choices, model, counts, name = recorded_choices(directory, policy)
    last = max(int(data.step.max()) for data in choices.values())
    first = min(int(data.step.min()) for data in choices.values())
    held_from = last - int((last - first + 1) * HELD_OUT) + 1
    draws = Draws(seed)
    parts: dict[str, dict[str, Bool]] = {}
    for kind, data in choices.items():
        other = draws.uniform("fit.agents", 0, data.agent.astype(np.uint64)) < HELD_OUT
        later = data.step >= held_from
        parts[kind] = {"fitted": ~other & ~later, "other agents": other & ~later, "later steps": later}
    seen = {kind: data.take(parts[kind]["fitted"]) for kind, data in choices.items()}
    if not any((data.chosen > 0).any() for data in seen.values()):
        raise InputError(f"{directory}: no action to fit to among those of {name!r}; take a longer run")
    readings = _readings(seen)
    at = int(np.argmax(readings["log_likelihood"].to_numpy()))
    fitted = {kind: _fit(data, at, _varying(data)) for kind, data in seen.items()}
    plain = {kind: _plain(data, at) for kind, data in seen.items()}
    begun = int(np.argmin([abs(p - model.persistence) + abs(c - model.comments) for p, c in READINGS]))
    held = {kind: choices[kind].take(~parts[kind]["fitted"]) for kind in choices}
    return Fit(
        name,
        READINGS[at],
        readings,
        _coefficients(seen, fitted),
        _scores(choices, parts, fitted, plain, at, begun),
        _calibration(held, fitted, at),
        _shares(held, fitted, at),
        counts | {"held_from_step": held_from},
    )


def _fit(data: ChoiceData, reading: int, free: Bool) -> Estimate:
    examined = data.examined[:, reading].astype(np.float64)
    return estimate(data.menu.coefficients, data.features, data.available, data.chosen, examined, data.agent, free)


def _plain(data: ChoiceData, reading: int) -> Estimate:
    """Return intercepts alone, whatever the features."""
    free, start = _intercepts(data), np.zeros(data.menu.coefficients.shape)
    start[:, 0] = data.menu.coefficients[:, 0]
    examined = data.examined[:, reading].astype(np.float64)
    one = (start[:, :1], data.features[:, :1], data.available, data.chosen, examined, data.agent, free[:, :1])
    found = estimate(*one, errors=False)
    start[:, 0] = found.coefficients[:, 0]
    return replace(found, coefficients=start, free=free)


def _intercepts(data: ChoiceData) -> Bool:
    free = np.zeros(data.menu.coefficients.shape, np.bool_)
    free[1:, 0] = data.available[:, 1:].any(axis=0)
    return free


def _varying(data: ChoiceData) -> Bool:
    """Return which coefficients to fit: intercepts, and features that vary, of actions that were possible.

    Of features that are the same in all occasions (score and likes, where nobody can dislike) the first is fitted.
    """
    free = _intercepts(data)
    if not len(data):
        return free
    varies = data.features.std(axis=0) > 1e-9
    _, first = np.unique(data.features.T, axis=0, return_index=True)
    alone = np.zeros(len(FEATURES), np.bool_)
    alone[first] = True
    return free | (free[:, :1] & (varies & alone)[None, :])


def _readings(seen: Mapping[str, ChoiceData]) -> pl.DataFrame:
    rows = []
    for number, (persistence, comments) in enumerate(READINGS):
        total = sum(_plain(data, number).log_likelihood for data in seen.values())
        rows.append((persistence, comments, total))
    return pl.DataFrame(rows, ["persistence", "comments", "log_likelihood"], orient="row")


def _coefficients(seen: Mapping[str, ChoiceData], fitted: Mapping[str, Estimate]) -> pl.DataFrame:
    rows = []
    for kind in (k for k in KINDS if k in seen):
        data, found = seen[kind], fitted[kind]
        for option, feature in zip(*np.nonzero(found.free | (found.coefficients != 0)), strict=True):
            fitted_here = bool(found.free[option, feature])
            rows.append(
                (
                    data.menu.actions[option].label,
                    FEATURES[feature],
                    float(data.menu.coefficients[option, feature]),
                    float(found.coefficients[option, feature]),
                    float(found.error[option, feature]) if fitted_here else None,
                    bool(found.known[option, feature]),
                    int((data.chosen == option).sum()),
                )
            )
    names = ["action", "feature", "begun", "value", "error", "known", "taken"]
    return pl.DataFrame(rows, names, orient="row", infer_schema_length=None)


def _scores(
    choices: Mapping[str, ChoiceData],
    parts: Mapping[str, Mapping[str, Bool]],
    fitted: Mapping[str, Estimate],
    plain: Mapping[str, Estimate],
    at: int,
    begun: int,
) -> pl.DataFrame:
    rows = []
    for part in ("fitted", "other agents", "later steps"):
        sums, occasions = np.zeros(3), 0
        for kind, data in choices.items():
            here = data.take(parts[kind][part])
            tables = ((fitted[kind].coefficients, at), (data.menu.coefficients, begun), (plain[kind].coefficients, at))
            for column, (table, reading) in enumerate(tables):
                chances = probabilities(table, here.features, here.available)
                sums[column] += log_likelihoods(
                    chances, here.chosen, here.examined[:, reading].astype(np.float64)
                ).sum()
            occasions += len(here)
        losses = (-sums / max(1, occasions)).tolist() if occasions else [None] * 3
        rows.append((part, occasions, *losses))
    return pl.DataFrame(rows, ["part", "occasions", "fitted_loss", "begun_loss", "intercepts_loss"], orient="row")


def _calibration(held: Mapping[str, ChoiceData], fitted: Mapping[str, Estimate], at: int) -> pl.DataFrame:
    expected, observed = [np.zeros(0)], [np.zeros(0)]
    for kind, data in held.items():
        nothing = probabilities(fitted[kind].coefficients, data.features, data.available)[:, 0]
        expected.append(data.examined[:, at] * (1 - nothing))
        observed.append((data.chosen > 0).astype(np.float64))
    return calibration_table(np.concatenate(expected), np.concatenate(observed))


def _shares(held: Mapping[str, ChoiceData], fitted: Mapping[str, Estimate], at: int) -> pl.DataFrame:
    rows = []
    for kind in (k for k in KINDS if k in held):
        data = held[kind]
        chances = probabilities(fitted[kind].coefficients, data.features, data.available)
        for option, action in enumerate(data.menu.actions[1:], 1):
            if not len(data):
                continue
            taken = int((data.chosen == option).sum())
            sure = binomtest(taken, len(data)).proportion_ci(0.95, method="wilson")
            expected = float((data.examined[:, at] * chances[:, option]).mean())
            rows.append((action.label, expected, taken / len(data), float(sure.low), float(sure.high)))
    schema = {"action": pl.String, **dict.fromkeys(("expected", "observed", "low", "high"), pl.Float64)}
    return pl.DataFrame(rows, schema, orient="row")
