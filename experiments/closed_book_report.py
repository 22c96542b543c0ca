"""What the report says of the closed-book check: whether a language model knows the event that agents act out."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import polars as pl
from scipy import stats

from oasis.experiments.closed_book import read_closed_book
from oasis.experiments.interfaces import Section
from oasis.experiments.results import Results
from oasis.experiments.statistics import paired_t

__all__ = ["accuracy_interval", "knowledge_section"]

TITLE = "Does the language model know the event?"
_TABLE = {
    "model": pl.String,
    "question": pl.String,
    "right_answer": pl.String,
    "most_frequent_answer": pl.String,
    "asked": pl.Int64,
    "answered": pl.Int64,
    "right": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "chance": pl.Float64,
}
_BESIDE = {
    "right_anonymised": pl.Float64,
    "low_anonymised": pl.Float64,
    "high_anonymised": pl.Float64,
}
"""Further columns, where the same was asked with the event's names replaced."""


def knowledge_section(results: Results) -> Section | None:
    """Return what each model got right; None without a language model, or where neither event nor data are given."""
    if not results.asked_model:
        return None
    if results.design.event is None:
        if results.folder.request.data is None:
            return None
        unchecked = (
            "Not checked: the design has no [event], so the language model was not asked what it knows of the data that"
            " it is set beside. A model that knows the outcome can repeat it."
        )
        return Section("closed_book", TITLE, (unchecked,))
    asked = read_closed_book(results.folder.path)
    if not asked:
        return Section("closed_book", TITLE, ("Not checked: no answers are recorded.",))
    level = results.design.experiment.level
    words: list[str] = []
    rows: list[tuple[Any, ...]] = []
    beside = all("anonymised" in entry for entry in asked)
    for entry in asked:
        found = _questions(entry["model"], entry["answers"])
        said, total = _verdict(entry["model"], found, level)
        words.append(said + _cost(entry))
        if beside:
            others = _questions(entry["model"], entry["anonymised"])
            said, other = _hidden(entry["model"], found, others, level)
            words.append(said)
            found = [(*row, *more[6:9]) for row, more in zip([*found, total], [*others, other], strict=True)]
            rows += found
        else:
            rows += [*found, total]
    if results.design.event.names and not beside:
        words.append("None of the names to be replaced is in what was asked, so nothing was asked without them.")
    words.append(
        "The model was told the event's description and nothing else, at temperature 0, before any run. Each question"
        " was asked in several orders of its options; what is right is the share of orders, averaged over questions."
        f" The {100 * level:g}% interval (Wilson 1927) counts questions, not orders, since answers to one question are"
        " not independent. A model can know an event and be wrong about these questions, and be right by plausibility."
    )
    schema = {**_TABLE, **_BESIDE} if beside else _TABLE
    return Section("closed_book", TITLE, words, pl.DataFrame(rows, schema, orient="row"), printed=True)


def accuracy_interval(right: float, questions: int, level: float) -> tuple[float, float]:
    """Return the score interval of a mean over questions of shares that are right.

    Wilson (1927), "Probable inference, the law of succession, and statistical inference", JASA 22, for a share of
    `questions`. A question's own share lies between 0 and 1, so its variance is at most p (1 - p), that of one which
    is right or wrong: with shares in between the interval is too wide rather than too narrow.
    """
    z = float(stats.norm.ppf(0.5 + level / 2))
    centre = right + z**2 / (2 * questions)
    half = z * math.sqrt(right * (1 - right) / questions + z**2 / (4 * questions**2))
    scale = 1 + z**2 / questions
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def _questions(model: str, rows_of_all: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Return a row of the table for each question of a model."""
    by_number: dict[int, list[dict[str, Any]]] = {}
    for row in rows_of_all:
        by_number.setdefault(row["number"], []).append(row)
    found = []
    for rows in by_number.values():
        first, answers = rows[0], [row["answer"] for row in rows if row["answer"] is not None]
        often = Counter(answers).most_common(1)[0][0] if answers else None
        right = answers.count(first["right"]) / len(answers) if answers else None
        numbers = (len(rows), len(answers), right, None, None, 1 / len(first["options"]))
        found.append((model, first["question"], first["right"], often, *numbers))
    return found


def _total(name: str, found: list[tuple[Any, ...]], level: float) -> tuple[Any, ...]:
    """Return the table's row for all questions of a model; it has no share where none was answered."""
    asked, answered = sum(row[4] for row in found), sum(row[5] for row in found)
    known = [row for row in found if row[6] is not None]
    if not known:
        return name, "all", None, None, asked, answered, None, None, None, None
    right, chance = (sum(row[column] for row in known) / len(known) for column in (6, 9))
    return name, "all", None, None, asked, answered, right, *accuracy_interval(right, len(known), level), chance


def _numbers(total: tuple[Any, ...], found: list[tuple[Any, ...]], level: float) -> str:
    right, low, high, chance = total[6:]
    known = sum(row[6] is not None for row in found)
    return (
        f"{100 * right:.0f}% right over {known} question{'s' * (known != 1)}"
        f" ({100 * level:g}% interval {100 * low:.0f}% to {100 * high:.0f}%), where guessing gives {100 * chance:.0f}%"
    )


def _missing(total: tuple[Any, ...]) -> str:
    asked, answered = total[4:6]
    return f" {asked - answered} of {asked} calls got no usable answer and are left out." if answered < asked else ""


def _verdict(name: str, found: list[tuple[Any, ...]], level: float) -> tuple[str, tuple[Any, ...]]:
    """Return what is said of a model, and the table's row for all its questions."""
    total = _total(name, found, level)
    if total[6] is None:
        return f"{name}: not known. None of {total[4]} calls was answered in the form asked for.", total
    numbers, (_, low, high, chance) = _numbers(total, found, level), total[6:]
    if low > chance:
        said = (
            f"{name} knows the event: {numbers}. A model that knows the outcome can repeat it: that its agents do what"
            " people did is then no evidence that they decide as people do."
        )
    elif high < chance:
        said = f"{name} is wrong about the event more often than by guessing: {numbers}. It has learned something else."
    else:
        said = (
            f"{name}: not told apart from guessing: {numbers}. That is no proof that it does not know the event; more"
            " questions make the interval narrower."
        )
    return said + _missing(total), total


def _cost(entry: dict[str, Any]) -> str:
    calls = len(entry["answers"]) + len(entry.get("anonymised", ()))
    spent = sum(entry["tokens"][key] for key in ("input", "output"))
    return f" The check took {calls} calls and {spent:,} tokens, which the counts above do not hold."


def _hidden(
    name: str, found: list[tuple[Any, ...]], others: list[tuple[Any, ...]], level: float
) -> tuple[str, tuple[Any, ...]]:
    """Return whether the event is hidden by other names, in words, and the row of all questions with those names.

    Questions are the pairs of a paired t interval (`oasis.experiments.statistics.paired_t`).
    """
    named, total = _total(name, found, level), _total(name, others, level)
    if named[6] is None or total[6] is None:
        said = (
            f"{name}, with other names: not known. {total[5]} of {total[4]} calls were answered in the form asked for."
        )
        return said, total
    numbers, (_, low, _, chance) = _numbers(total, others, level), total[6:]
    with_names, without = ([math.nan if row[6] is None else row[6] for row in rows] for rows in (found, others))
    change = paired_t(without, with_names, level)
    by = "too few questions to compare the two"
    if change.estimate is not None and change.low is not None and change.high is not None:
        points = [100 * x for x in (change.estimate, change.low, change.high)]
        by = "{:+.0f} points from what it is with the real ones, {:+.0f} to {:+.0f}".format(*points)
    fewer = change.high is not None and change.high < 0
    if low > chance and named[7] > named[9]:
        how = "though less well" if fewer else "and as well as with the real ones, as far as can be told"
        said = (
            f"With other names {name} still knows the event, {how}: {numbers} ({by}). The anonymisation does not hide"
            " the event: either the model knows it again by something else, and what agents of an anonymised arm do can"
            " be remembered all the same, or the questions can be guessed from what they say. Replace more names, tell"
            " less in the description and in what agents are shown, or ask what cannot be guessed."
        )
    elif low > chance:
        said = (
            f"With other names {name} is right more often than by guessing: {numbers} ({by}). With the real ones that"
            " could not be told, so it is likely that the questions can be guessed from what they say. The"
            " anonymisation hides nothing from it; ask what cannot be guessed, and more."
        )
    elif named[7] <= named[9]:
        said = (
            f"With other names {name} is not told apart from guessing: {numbers} ({by}). Nor is it with the real ones,"
            " so there is no knowledge here by which to see whether other names hide anything."
        )
    elif fewer:
        said = (
            f"With other names {name} is not told apart from guessing: {numbers} ({by}). As far as these questions"
            " tell, the anonymisation hides the event from it."
        )
    else:
        said = (
            f"With other names {name} is not told apart from guessing: {numbers}. But nor are its answers from those"
            f" with the real ones ({by}): whether the anonymisation hides the event is open; ask more questions."
        )
    return said + _missing(total), total
