"""``[baseline]``: a run that leaves out one thing that the scenario's results may come from."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from oasis.actions import USER_ACTIONS
from oasis.errors import nearest
from oasis.interfaces import Parameters

__all__ = ["BaselineConfig"]

Rate = Annotated[float, Field(ge=0, le=100)]


class BaselineConfig(Parameters):
    """What the run leaves out.

    Attributes
    ----------
    kind : str
        ``activity-only``: agents act as often as in a given run, on posts of their feeds that are drawn evenly.
        ``shuffled-persona``: bios, personas and interests change hands. ``shuffled-feed``: each agent is shown the feed
        of another. ``no-interaction``: nothing is shown that agents write.
    rates : dict of float, optional
        Of ``activity-only``: each action's number per activation.
    rates_from : str, optional
        A run directory to take `rates` from; the run that begins keeps them in its place.
    """

    kind: Literal["activity-only", "no-interaction", "shuffled-feed", "shuffled-persona"]
    rates: dict[str, Rate] | None = None
    rates_from: str | None = None

    @field_validator("rates")
    @classmethod
    def _known(cls, value: dict[str, float] | None) -> dict[str, float] | None:
        names = [a.label for a in USER_ACTIONS]
        for name in value or {}:
            if name not in names:
                raise ValueError(f"unknown action {name!r}{nearest(name, names)}; allowed: {', '.join(names)}")
        return value

    @model_validator(mode="after")
    def _has_rates(self) -> Self:
        given = (self.rates is not None) + (self.rates_from is not None)
        if self.kind == "activity-only" and given != 1:
            raise ValueError(
                "activity-only needs rates_from (the directory of a run of the scenario without a baseline) or rates "
                f"(actions per activation), {'not both' if given else 'got neither'}"
            )
        if self.kind != "activity-only" and given:
            raise ValueError(f"rates and rates_from are for activity-only, not for {self.kind}")
        return self
