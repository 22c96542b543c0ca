"""A language model asked in the shadow of a run: about a sample of its decisions, of which none is changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa

from oasis.actions import Outcome
from oasis.agents.shadow.answers import Answers
from oasis.agents.shadow.asking import Asking, OnStep
from oasis.agents.shadow.model_asked import asked_policy, asking_scenario, shadowed_policy
from oasis.agents.shadow.scoring import Scores, score
from oasis.errors import BudgetError, InferenceError, InputError, NoEndpointError
from oasis.inference import RecordedAnswers, build_client, model_name
from oasis.interfaces import InferenceClient
from oasis.randomness import Draws
from oasis.runs import open_run
from oasis.runs.begun import Begun, fate
from oasis.scenario import Scenario
from oasis.simulation.calls import CallCounts
from oasis.simulation.watching import watch_steps

__all__ = ["Shadow", "shadow_run"]


@dataclass(frozen=True)
class Shadow:
    """What a language model answered in the shadow of a run, and how well the choice model foretold it.

    Attributes
    ----------
    policy : str
        The run's choice policy.
    model : str
        The language model, as records name it.
    decoding : str
        How it was asked (`oasis.agents.llm_parameters.LLMParameters`).
    share, seed : float, int
        Of the sample.
    counts : dict of int
        ``activations`` of the policy; ``asked`` (drawn) and of these ``answered``, ``llm_failed``, ``llm_invalid``;
        ``agents`` and ``occasions`` of those answered; ``actions`` of the language model, and ``scored`` of these.
    calls : int
        Attempts.
    tokens : dict of int
        ``input``, ``cached``, ``output``.
    scores : Scores
    answers : Answers
    records : pyarrow.Table
        Rows of `oasis.records.LLM_CALLS`.
    """

    policy: str
    model: str
    decoding: str
    share: float
    seed: int
    counts: dict[str, int]
    calls: int
    tokens: dict[str, int]
    scores: Scores
    answers: Answers
    records: pa.Table

    def summary(self) -> dict[str, Any]:
        """Return all numbers as JSON values."""
        scores = self.scores
        return {
            "policy": self.policy,
            "model": self.model,
            "decoding": self.decoding,
            "share": self.share,
            "seed": self.seed,
            "counts": self.counts,
            "calls": self.calls,
            "tokens": self.tokens,
            "losses": scores.losses.to_dicts(),
            "calibration_error": scores.calibration_error,
            "calibration": scores.calibration.to_dicts(),
            "shares": scores.shares.to_dicts(),
        }


async def shadow_run(
    directory: Path,
    share: float = 0.01,
    seed: int = 0,
    policy: str | None = None,
    llm: Mapping[str, Any] = MappingProxyType({}),
    overrides: Sequence[str] = (),
    *,
    inference: InferenceClient | None = None,
    batch_size: int = 8_192,
    keep: Path | None = None,
    on_step: OnStep | None = None,
) -> Shadow:
    """Ask a language model about a share of the decisions of a run's choice policy.

    The run's steps are executed again in memory and compared with the record; the run stays as it is. What the model
    answers is not done: each question is put to an agent as the run made it.

    Parameters
    ----------
    share : float
        Of activations, 0 to 1, drawn by (seed, step, agent).
    seed : int
        Draws the sample and the resamples.
    policy : str, optional
        Its name in the run, where this has several choice policies.
    llm : mapping, optional
        Keys of ``[llm]`` that change the run's (`oasis.scenario_model.llm_changes`).
    overrides : sequence of str, optional
        Further changes, see `oasis.agents.shadow.model_asked.asking_scenario`.
    inference : InferenceClient, optional
        Instead of the client that ``[llm]`` describes. It is not closed.
    batch_size : int
        Most agents looked at together; it changes nothing that is found.
    keep : Path, optional
        A folder for answers as they come, with their prompts: where it holds some of the same questions, these are not
        asked again.

    Raises
    ------
    InputError
        If the run has no such policy, has not ended, or is a branch; if no model is named; or nobody was drawn.
    ReplayError
        If a step comes out differently from its record.
    NoEndpointError, BudgetError, FailureLimitError, InferenceError
        If the model does not answer, or not often enough, or must not be asked any more.
    """
    if not 0 < share <= 1:
        raise InputError(f"share must be above 0 and at most 1, got {share}")
    run = open_run(directory)
    scenario = Scenario.from_dict(run.manifest.scenario)
    name, parameters = shadowed_policy(directory, scenario, policy)
    asking_with = asking_scenario(scenario, llm, overrides)
    asked = asked_policy(asking_with, needs_endpoint=inference is None)
    calls = CallCounts(asking_with.budget)
    with ExitStack() as stack:
        begun = None
        if keep is not None and inference is None:
            settings = {"run": run.manifest.state_hash, "policy": name, "share": share, "seed": seed}
            begun = stack.enter_context(Begun.at(keep, {**settings, **_asked_by(asking_with)}))
            calls.owe(begun.rows)
        client = inference or build_client(
            asking_with.llm,
            scenario.simulation.seed,
            None if begun is None else begun.write,
            None if begun is None else RecordedAnswers(begun.rows, retry_after_step=-1),
            keep_prompt=lambda agent: begun is not None,
            meter=calls,
        )
        asking = Asking(asked, parameters, client, calls, asking_with.llm, Draws(seed), share, keep, on_step)
        await _ask(directory, name, asking, client, batch_size, closes=inference is None)
    if not asking.asked:
        raise InputError(
            f"{directory}: none of {asking.activations:,} activations of {name!r} was drawn; give a larger --share"
        )
    asking.end()
    counts = _counts(asking)
    if not counts["answered"]:
        raise InferenceError(f"none of {asking.asked:,} questions was answered; {fate(keep)}")
    scores = score(asking.answers, Draws(seed))
    counts |= {key: getattr(scores, key) for key in ("agents", "occasions", "actions", "scored")}
    model = model_name(asking_with.llm) or "unnamed"
    return Shadow(
        policy=name,
        model=model,
        decoding=asked.parameters.decoding,
        share=share,
        seed=seed,
        counts=counts,
        calls=calls.calls,
        tokens=calls.tokens,
        scores=scores,
        answers=asking.answers,
        records=pa.concat_tables(asking.records),
    )


async def _ask(
    directory: Path, policy: str, asking: Asking, client: InferenceClient, batch_size: int, closes: bool
) -> None:
    try:
        await watch_steps(directory, {policy: asking.look}, {policy: asking.committed}, batch_size=batch_size)
    except BudgetError as error:
        used = asking.calls.used_up() or str(error)
        raise BudgetError(
            f"{used} is used up after {asking.asked:,} agents were asked; {fate(asking.keep)}. Give"
            f" --set {used.split()[0]}=MORE, or ask a smaller --share"
        ) from None
    except NoEndpointError as error:
        raise NoEndpointError(f"{error}; {fate(asking.keep)}") from None
    finally:
        if closes:
            await client.close()


def _asked_by(scenario: Scenario) -> dict[str, Any]:
    """Return what answers follow from beside the question: model and how it is asked, but not how it is reached."""
    values = scenario.decisive()
    for name in ("attempts", "failure_limit", "failure_window"):  # with these, what is missing may be asked for
        values["llm"].pop(name)
    return {"llm": values["llm"], "policy parameters": values["policies"][0]["parameters"]}


def _counts(asking: Asking) -> dict[str, int]:
    failed = asking.answers.activations()["failed"]
    return {
        "activations": asking.activations,
        "asked": len(failed),
        "answered": int((failed < 0).sum()),
        "llm_failed": int((failed == Outcome.LLM_FAILED).sum()),
        "llm_invalid": int((failed == Outcome.LLM_INVALID).sum()),
    }
