"""Purchases: first come, first served, in the drawn order."""

from __future__ import annotations

import numpy as np

from oasis.actions import Action, Outcome
from oasis.platforms.round import Round, rank_within

__all__ = ["purchase"]


def purchase(round_: Round) -> None:
    """Buy one of a product while it lasts; a stock of -1 never ends."""
    rows = round_.pending(Action.PURCHASE_PRODUCT)
    if not len(rows):
        return
    products = round_.world.products
    wanted = round_.target[rows]
    stock = products["stock"][wanted]
    gone = (stock >= 0) & (products["sold"][wanted] + rank_within(wanted) >= stock)
    rows = round_.refuse(rows, gone, Outcome.SOLD_OUT)
    wanted = round_.target[rows]
    np.add.at(products["sold"], wanted, 1)
    round_.created[rows] = round_.world.purchases.append(
        len(rows), agent=round_.agent[rows], product=wanted, step=round_.step
    )
    round_.accept(rows)
