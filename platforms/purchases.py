"""Products from outside, and purchases: first come, first served, in the drawn order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from oasis.actions import Action, ActionBatch, Outcome
from oasis.interfaces import Applied
from oasis.kernels import rounds as kernels
from oasis.platforms.round import Round, rank_within
from oasis.world.text import normalise_one
from oasis.world.world import World

__all__ = ["add_products", "purchase"]


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
    kernels.count(products["sold"], wanted, 1)
    round_.created[rows] = round_.world.purchases.append(
        len(rows), agent=round_.agent[rows], product=wanted, step=round_.step
    )
    round_.accept(rows)


def add_products(
    world: World, batch: ActionBatch, rows: Sequence[int], arguments: Sequence[Any], step: int, done: Applied
) -> None:
    """Add products that agents can buy from now on."""
    for row, a in zip(rows, arguments, strict=True):
        text = normalise_one(a.text)
        if not text.strip():
            done.outcome[row] = Outcome.EMPTY_CONTENT
        elif a.seller is not None and not 0 <= a.seller < len(world.users):
            done.outcome[row] = Outcome.NOT_FOUND
        else:
            seller = -1 if a.seller is None else a.seller
            done.created_id[row] = world.products.append(
                1, text=world.texts.append([text]), seller=seller, price=a.price, stock=a.stock
            )[0]
            done.outcome[row] = Outcome.ACCEPTED
