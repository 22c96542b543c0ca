"""What agents of a language model advise in words, and the same texts without names of accounts."""

from __future__ import annotations

import re
from collections.abc import Iterable

import polars as pl

from oasis.agents.prompting.quoting import name_of
from oasis.experiments.phenomena.dilemma import ADVICE
from oasis.runs import Run

__all__ = ["SOMEONE", "advice", "without_accounts"]

SOMEONE = "someone"
"""What stands for the name of an account."""
_WORD = re.compile(r"@?\w[\w.\-]*")
_PART = re.compile(r"\w+")


def advice(run: Run) -> pl.DataFrame:
    """Return what agents advised in the first and the last interview in which they were asked for it.

    Returns
    -------
    polars.DataFrame
        ``agent_id``; ``wave`` (first, last); ``question``; ``text``, as it was answered; ``shown``, the same without
        names of accounts.
    """
    said = run.interviews.filter(
        (pl.col("question_id") == ADVICE) & (pl.col("outcome").cast(pl.String) == "accepted")
    ).select("step", "agent_id", pl.col("question").cast(pl.String), pl.col("text").cast(pl.String))
    steps = said.select(first=pl.col("step").min(), last=pl.col("step").max())
    ends = said.join(steps, how="cross").filter(
        (pl.col("step") == pl.col("first")) | (pl.col("step") == pl.col("last"))
    )
    wave = pl.when(pl.col("step") == pl.col("first")).then(pl.lit("first")).otherwise(pl.lit("last"))
    found = ends.select("agent_id", "question", "text", wave=wave).sort("agent_id", "wave").collect()
    users = run.users.select("agent_id", pl.col("username").cast(pl.String)).collect()
    names = [name for agent, username in users.iter_rows() for name in (username, name_of(username, agent))]
    shown = without_accounts(found["text"].to_list(), [name for name in names if name])
    return found.with_columns(shown=pl.Series(shown, dtype=pl.String))


def without_accounts(texts: Iterable[str], usernames: Iterable[str]) -> list[str]:
    """Return texts with `SOMEONE` for whatever stands after an ``@``, and for usernames as whole words.

    Capitals do not count. An account that is named like a word of the language takes that word out of all texts. What
    they say about people in other words stays.

    Examples
    --------
    >>> without_accounts(["As user_3 I agree with @Zoe. User_31 does not."], ["user_3"])
    ['As someone I agree with someone. User_31 does not.']
    """
    known = {name.casefold() for name in usernames}

    def part(found: re.Match[str]) -> str:
        return SOMEONE if found[0].casefold() in known else found[0]

    def word(found: re.Match[str]) -> str:
        bare = found[0].rstrip(".-")
        if bare.startswith("@") or bare.casefold() in known:
            return SOMEONE + found[0][len(bare) :]
        return _PART.sub(part, found[0])

    return [_WORD.sub(word, text) for text in texts]
