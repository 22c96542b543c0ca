"""Growth and measures of cascades against networkx, naive versions and closed forms."""

import networkx as nx
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oasis.experiments.measures import branching, burstiness, cascade_growth, cascade_measures, generations, half_times
from oasis.runs.cascades import curve_of

KINDS = ("original", "repost", "quote")


def posts(kind, parent, root, step, author=None):
    n = len(kind)
    return pl.DataFrame(
        {
            "post_id": pl.Series(range(n), dtype=pl.Int32),
            "author_id": pl.Series(range(n) if author is None else author, dtype=pl.Int32),
            "kind": pl.Series(kind, dtype=pl.Categorical),
            "root_id": pl.Series(root, dtype=pl.Int32),
            "parent_id": pl.Series(parent, dtype=pl.Int32),
            "step": pl.Series(step, dtype=pl.Int32),
        }
    )


@st.composite
def post_tables(draw):
    """Posts in order of id; a repost or quote goes to any earlier post; authors repeat."""
    count = draw(st.integers(1, 40))
    kind, parent, root, step = [], [], [], []
    for post in range(count):
        k = draw(st.sampled_from([0, 1, 1, 1, 1, 2])) if post else 0
        above = draw(st.integers(0, post - 1)) if k else None
        kind.append(KINDS[k])
        parent.append(above)
        root.append(root[above] if k else post)
        step.append((step[-1] if step else 0) + draw(st.integers(0, 2)))
    return posts(kind, parent, root, step, [draw(st.integers(0, 12)) for _ in range(count)])


def tree_until(table, root, until):
    """Return the tree of posts up to a step, and its users."""
    rows = table.to_dicts()
    graph, users = nx.DiGraph(), set()
    for row in rows:
        if row["root_id"] != root or row["kind"] == "quote" or row["step"] > until:
            continue
        graph.add_node(row["post_id"])
        users.add(row["author_id"])
        if row["kind"] == "repost":
            above = row["parent_id"]
            while rows[above]["kind"] == "quote":
                above = rows[above]["parent_id"]
            graph.add_edge(above, row["post_id"])
    return graph, users


def levels(graph, root):
    return [len(level) for level in nx.bfs_layers(graph, root)]


@given(post_tables())
def test_growth_equals_the_naive_one_at_every_step(table):
    growth = cascade_growth(table, 3.0)
    roots = table.filter(pl.col("kind") == "original")["post_id"].to_list()
    assert growth["root_id"].unique().sort().to_list() == roots
    assert growth.select("root_id", "step").equals(
        growth.select("root_id", "step").sort("root_id", "step").unique(maintain_order=True)
    )
    for root in roots:
        mine = growth.filter(pl.col("root_id") == root)
        born = table["step"][root]
        changed = set()
        for step in range(born, table["step"].max() + 1):
            graph, users = tree_until(table, root, step)
            sizes = levels(graph, root)
            expected = (len(users), len(sizes) - 1, max(sizes[1:], default=0))
            last = mine.filter(pl.col("step") <= step).to_dicts()[-1]
            assert (last["scale"], last["depth"], last["max_breadth"]) == expected
            assert last["minute"] == 3.0 * (last["step"] - born)
            before = tree_until(table, root, step - 1)[0]
            if len(graph) > len(before):
                changed.add(step)
        assert set(mine["step"]) == changed


@given(post_tables())
def test_growth_is_the_curve_of_a_run_where_each_user_posts_once(table):
    table = table.with_columns(author_id=pl.col("post_id"))
    growth = cascade_growth(table, 2.0)
    for root in table.filter(pl.col("kind") == "original")["post_id"]:
        curve = (
            curve_of(table, root, table["step"].max(), 2.0).drop("quotes").with_columns(root_id=pl.lit(root, pl.Int32))
        )
        mine = growth.filter(pl.col("root_id") == root)
        assert curve.filter(pl.col("step").is_in(mine["step"].to_list())).select(mine.columns).equals(mine)


@given(post_tables())
def test_measures_equal_networkx_and_naive_ones(table):
    found = cascade_measures(table, 3.0)
    pooled = {}
    for row in found.to_dicts():
        root = row["root_id"]
        graph, users = tree_until(table, root, 10**6)
        sizes = levels(graph, root)
        assert (row["scale"], row["posts"], row["depth"]) == (len(users), len(graph), len(sizes) - 1)
        assert row["max_breadth"] == max(sizes[1:], default=0)
        if len(graph) > 1:
            assert row["virality"] == pytest.approx(nx.average_shortest_path_length(graph.to_undirected()), rel=1e-12)
        else:
            assert row["virality"] is None
        step = {r["post_id"]: r["step"] for r in table.to_dicts()}
        times = sorted(step[p] for p in graph)
        if len(users) > 1:
            half = next(t for t in times if 2 * len(tree_until(table, root, t)[1]) >= len(users))
            assert row["half_minutes"] == 3.0 * (half - step[root])
        else:
            assert row["half_minutes"] is None
        between = np.diff(times)
        if len(between) > 1 and between.sum():
            m, s = between.mean(), between.std()
            assert row["burstiness"] == pytest.approx((s - m) / (s + m), abs=1e-12)
        else:
            assert row["burstiness"] is None
        for g, (here, following) in enumerate(zip(sizes, [*sizes[1:], 0], strict=True)):
            a, b = pooled.get(g, (0, 0))
            pooled[g] = (a + here, b + following)
    rows = branching(generations(table)).to_dicts()
    assert {r["generation"]: (r["posts"], r["next_posts"]) for r in rows} == pooled
    assert all(r["branching"] == r["next_posts"] / r["posts"] for r in rows)


def one_cascade(parents, step=None):
    n = len(parents)
    return posts(["original", *["repost"] * (n - 1)], parents, [0] * n, range(n) if step is None else step)


def test_a_star():
    n = 50
    (row,) = cascade_measures(one_cascade([None, *[0] * (n - 1)]), 1.0).to_dicts()
    assert (row["scale"], row["depth"], row["max_breadth"]) == (n, 1, n - 1)
    assert row["virality"] == pytest.approx(2 * (n - 1) / n)  # 2 - 2/n
    assert row["burstiness"] == -1  # one a minute
    assert row["half_minutes"] == n / 2 - 1


def test_a_path():
    n = 50
    (row,) = cascade_measures(one_cascade([None, *range(n - 1)]), 1.0).to_dicts()
    assert (row["scale"], row["depth"], row["max_breadth"]) == (n, n - 1, 1)
    assert row["virality"] == pytest.approx((n + 1) / 3)
    assert branching(generations(one_cascade([None, *range(n - 1)])))["branching"].to_list() == [1] * (n - 1) + [0]


def test_a_binary_tree():
    height = 6
    n = 2 ** (height + 1) - 1
    table = one_cascade([None, *[(i - 1) // 2 for i in range(1, n)]])
    (row,) = cascade_measures(table, 1.0).to_dicts()
    assert (row["scale"], row["depth"], row["max_breadth"]) == (n, height, 2**height)
    edges = [(2**d, 2 ** (height - d + 1) - 1) for d in range(1, height + 1)]  # how many, posts below each
    assert row["virality"] == pytest.approx(2 * sum(c * s * (n - s) for c, s in edges) / (n * (n - 1)))
    assert branching(generations(table))["branching"].to_list() == [2] * height + [0]


def test_bursts_and_chance():
    generator = np.random.default_rng(0)
    chance = np.cumsum(generator.geometric(0.001, 20_000))
    bursts = np.cumsum(np.where(generator.random(20_000) < 0.01, 10_000, 1))
    events = pl.concat([pl.DataFrame({"who": name, "step": s}) for name, s in (("bursts", bursts), ("chance", chance))])
    found = dict(burstiness(events, "who").iter_rows())
    assert found["chance"] == pytest.approx(0, abs=0.02)
    assert found["bursts"] > 0.7


def test_all_in_one_step_and_alone_have_no_time():
    table = posts(["original", "repost", "repost", "original"], [None, 0, 0, None], [0, 0, 0, 3], [4, 4, 4, 5])
    growth = cascade_growth(table, 3.0)
    assert growth["scale"].to_list() == [3, 1]
    assert half_times(growth)["half_minutes"].to_list() == [0.0, None]
    assert cascade_measures(table, 3.0)["burstiness"].to_list() == [None, None]


def test_no_posts():
    nothing = posts([], [], [], [])
    assert cascade_growth(nothing, 3.0).height == 0
    assert cascade_measures(nothing, 3.0).height == 0
    assert branching(generations(nothing)).height == 0
