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
    for entry in asked:
        found = _questions(entry)
        rows += found
        said, total = _verdict(entry, found, level)
        words.append(said)
        rows.append(total)
    words.append(
        "The model was told the event's description and nothing else, at temperature 0, before any run. Each question"
        " was asked in several orders of its options; what is right is the share of orders, averaged over questions."
        f" The {100 * level:g}% interval (Wilson 1927) counts questions, not orders, since answers to one question are"
        " not independent. A model can know an event and be wrong about these questions, and be right by plausibility."
    )
    return Section("closed_book", TITLE, words, pl.DataFrame(rows, _TABLE, orient="row"), printed=True)


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


def _questions(entry: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return a row of the table for each question of a model."""
    by_number: dict[int, list[dict[str, Any]]] = {}
    for row in entry["answers"]:
        by_number.setdefault(row["number"], []).append(row)
    found = []
    for rows in by_number.values():
        first, answers = rows[0], [row["answer"] for row in rows if row["answer"] is not None]
        often = Counter(answers).most_common(1)[0][0] if answers else None
        right = answers.count(first["right"]) / len(answers) if answers else None
        numbers = (len(rows), len(answers), right, None, None, 1 / len(first["options"]))
        found.append((entry["model"], first["question"], first["right"], often, *numbers))
    return found


def _verdict(entry: dict[str, Any], found: list[tuple[Any, ...]], level: float) -> tuple[str, tuple[Any, ...]]:
    """Return what is said of a model, and the table's row for all its questions."""
    name = entry["model"]
    asked, answered = sum(row[4] for row in found), sum(row[5] for row in found)
    known = [row for row in found if row[6] is not None]
    total: tuple[Any, ...] = (name, "all", None, None, asked, answered, None, None, None, None)
    if not known:
        return f"{name}: not known. None of {asked} calls was answered in the form asked for.", total
    right, chance = (sum(row[column] for row in known) / len(known) for column in (6, 9))
    low, high = accuracy_interval(right, len(known), level)
    numbers = (
        f"{100 * right:.0f}% right over {len(known)} question{'s' * (len(known) != 1)}"
        f" ({100 * level:g}% interval {100 * low:.0f}% to {100 * high:.0f}%), where guessing gives {100 * chance:.0f}%"
    )
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
    missing = f" {asked - answered} of {asked} calls got no usable answer and are left out." if answered < asked else ""
    spent = sum(entry["tokens"][key] for key in ("input", "output"))
    said += f"{missing} The check took {asked} calls and {spent:,} tokens, which the counts above do not hold."
    return said, (name, "all", None, None, asked, answered, right, low, high, chance)
