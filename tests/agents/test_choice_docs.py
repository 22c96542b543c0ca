"""The tables of docs/choice-model.md are what the code computes."""

from pathlib import Path

from oasis.actions import USER_ACTIONS, Action
from oasis.agents.choice.model import ChoiceParameters, Model, defaults
from oasis.agents.choice.rates import REFERENCE_POSTS, expected_rates

DOCS = Path(__file__).parents[2] / "docs" / "choice-model.md"
X = ("create_post", "repost", "quote_post", "like_post", "create_comment", "follow")
REDDIT = (
    "like_post", "dislike_post", "create_post", "create_comment", "like_comment", "dislike_comment",
    "search_posts", "search_user", "trend", "refresh", "follow", "mute",
)  # fmt: skip


def model(platform, actions):
    return Model.build(platform, tuple(Action[name.upper()] for name in actions), ChoiceParameters())


def tables():
    """Return the Markdown tables by the name of their mark."""
    return {"coefficients": coefficients(), "rates": rates(), "activity": activity()}


def coefficients():
    data = defaults()
    lines = ["| action | feature | X and others | Reddit | source |", "|---|---|---|---|---|"]
    for action, common in data["actions"].items():
        reddit = data["platforms"]["reddit"].get(action, {})
        for feature in {**common, **reddit}:
            value, source = common.get(feature, (0.0, ""))
            other = reddit.get(feature)
            shown = "" if other is None else f"{other[0]:g}"
            source = source if other is None else f"{source}; Reddit: {other[1]}".removeprefix("; ")
            lines.append(f"| `{action}` | `{feature}` | {value:g} | {shown} | {source} |")
    return "\n".join(lines) + "\n"


def rates():
    x = expected_rates(model("x", X), REFERENCE_POSTS["x"], 10)
    reddit = expected_rates(model("reddit", REDDIT), REFERENCE_POSTS["reddit"], 10, comments=3)
    lines = ["| action | X | Reddit |", "|---|---|---|"]
    for action in sorted({*x, *reddit}):
        cells = [f"{table[action]:.2f}" if action in table else "" for table in (x, reddit)]
        lines.append(f"| `{action.label}` | {cells[0]} | {cells[1]} |")
    return "\n".join(lines) + "\n"


def activity():
    lines = ["| feed size | default actions | all actions but looking up |", "|---|---|---|"]
    for size in (5, 10, 20, 50, 1000):
        cells = []
        for actions in (X, [a.label for a in USER_ACTIONS]):
            menu = model("x", actions)
            expected = expected_rates(menu, REFERENCE_POSTS["x"], size)
            cells.append(sum(v for a, v in expected.items() if a not in menu.read.actions))
        lines.append(f"| {size} | {cells[0] * size / 1000:.3f} | {cells[1] * size / 1000:.3f} |")
    return "\n".join(lines) + "\n"


def test_documents_are_up_to_date():
    text = DOCS.read_text("utf-8")
    for name, table in tables().items():
        assert f"<!-- {name} -->\n{table}" in text, f"the table {name} differs:\n{table}"
