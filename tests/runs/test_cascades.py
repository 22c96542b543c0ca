"""Cascade measures against networkx, on random trees with quotes in them."""

import networkx as nx
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oasis.errors import InputError
from oasis.runs import cascade_curve, cascades, compare_with_real, open_run
from oasis.runs.cascades import cascade_table, curve_of
from oasis.testing.runs import MadeUpRun

KINDS = ("original", "repost", "quote")


@st.composite
def post_tables(draw):
    """Posts in order of id; a repost or quote goes to any earlier post."""
    count = draw(st.integers(1, 40))
    kind, parent, root, step = [], [], [], []
    for post in range(count):
        k = draw(st.sampled_from([0, 1, 1, 1, 2])) if post else 0
        above = draw(st.integers(0, post - 1)) if k else None
        kind.append(KINDS[k])
        parent.append(above)
        root.append(root[above] if k else post)
        step.append((step[-1] if step else 0) + draw(st.integers(0, 2)))
    return posts(kind, parent, root, step)


def posts(kind, parent, root, step):
    n = len(kind)
    zeros = pl.Series(np.zeros(n, np.int32))
    return pl.DataFrame(
        {
            "post_id": pl.Series(range(n), dtype=pl.Int32),
            "author_id": zeros,
            "kind": pl.Series(kind, dtype=pl.Categorical),
            "root_id": pl.Series(root, dtype=pl.Int32),
            "parent_id": pl.Series(parent, dtype=pl.Int32),
            "step": pl.Series(step, dtype=pl.Int32),
            "likes": zeros,
            "comments": zeros,
        }
    )


def trees(table, until=None):
    """Return a networkx tree per original: a repost hangs on its nearest ancestor that is no quote."""
    rows = table.to_dicts()
    graphs = {r["post_id"]: nx.DiGraph() for r in rows if r["kind"] == "original"}
    for row in rows:
        if row["kind"] == "quote" or (until is not None and row["step"] > until):
            continue
        graph = graphs[row["root_id"]]
        graph.add_node(row["post_id"])
        if row["kind"] == "repost":
            above = row["parent_id"]
            while rows[above]["kind"] == "quote":
                above = rows[above]["parent_id"]
            graph.add_edge(above, row["post_id"])
    return graphs


def measures(graph, root):
    levels = list(nx.bfs_layers(graph, root))
    return len(graph), len(levels) - 1, max((len(level) for level in levels[1:]), default=0)


@settings(max_examples=150, deadline=None)
@given(post_tables())
def test_cascades_equal_networkx(table):
    rows = {r["root_id"]: r for r in cascade_table(table).to_dicts()}
    graphs = trees(table)
    assert rows.keys() == graphs.keys()
    for root, graph in graphs.items():
        row = rows[root]
        assert (row["size"], row["depth"], row["max_breadth"]) == measures(graph, root)
        quotes = table.filter((pl.col("root_id") == root) & (pl.col("kind") == "quote")).height
        assert row["quotes"] == quotes
        if len(graph) > 1:
            expected = nx.average_shortest_path_length(graph.to_undirected())
            assert row["virality"] == pytest.approx(expected, rel=1e-12)
        else:
            assert row["virality"] is None
    sizes = cascade_table(table)["size"].to_list()
    assert sizes == sorted(sizes, reverse=True)


@settings(max_examples=80, deadline=None)
@given(post_tables(), st.integers(0, 5))
def test_curves_equal_networkx_at_every_step(table, more):
    last = table["step"].max() + more
    for root in table.filter(pl.col("kind") == "original")["post_id"]:
        curve = curve_of(table, root, last, 3.0)
        born = table["step"][root]
        assert curve["step"].to_list() == list(range(born, last + 1))
        assert curve["minute"].to_list() == [3.0 * (s - born) for s in range(born, last + 1)]
        for row in curve.to_dicts():
            graph = trees(table, until=row["step"])[root]
            assert (row["scale"], row["depth"], row["max_breadth"]) == measures(graph, root)


def test_a_chain_and_a_star_by_hand():
    chain = posts(["original", "repost", "repost", "repost"], [None, 0, 1, 2], [0] * 4, [0, 1, 2, 3])
    (row,) = cascade_table(chain).to_dicts()
    assert (row["size"], row["depth"], row["max_breadth"], row["last_step"]) == (4, 3, 1, 3)
    assert row["virality"] == pytest.approx((3 * 1 + 2 * 2 + 1 * 3) / 6)
    star = posts(["original", "repost", "repost", "repost"], [None, 0, 0, 0], [0] * 4, [0, 1, 1, 1])
    (row,) = cascade_table(star).to_dicts()
    assert (row["size"], row["depth"], row["max_breadth"]) == (4, 1, 3)
    assert row["virality"] == pytest.approx((3 * 1 + 3 * 2) / 6)


def test_no_posts():
    assert cascade_table(posts([], [], [], [])).height == 0


def test_a_run_in_progress_has_the_cascades_that_it_ends_with(tmp_path):
    made = MadeUpRun(tmp_path / "run", steps=8).record()
    shape = ["root_id", "author_id", "step", "size", "depth", "max_breadth", "virality", "quotes", "last_step"]
    before, posts_before = cascades(open_run(made.path)).select(shape), open_run(made.path).posts.collect()
    made.finish(report=False)
    assert before.equals(cascades(open_run(made.path)).select(shape))
    after = open_run(made.path).posts.collect()
    tree = ["post_id", "author_id", "root_id", "parent_id", "step", "content"]
    assert posts_before.select(tree).equals(after.select(tree))


def test_the_cascade_of_no_original_is_an_error(tmp_path):
    run = open_run(MadeUpRun(tmp_path / "run").finish(report=False))
    with pytest.raises(InputError, match="no post 10000 in this run; there are posts 0 to"):
        cascade_curve(run, 10_000)
    with pytest.raises(InputError, match="no post -1"):
        cascade_curve(run, -1)
    repost = run.posts.filter(pl.col("kind") == "repost").collect().to_dicts()[0]
    with pytest.raises(InputError, match=f"its root is post {repost['root_id']}"):
        cascade_curve(run, repost["post_id"])


def test_beside_a_real_curve(tmp_path):
    path = tmp_path / "real.csv"
    path.write_text("minute,scale,depth,max_breadth\n0,1,0,0\n1,11,1,10\n2,15,1,14\n5,33,2,20\n")
    curve = curve_of(posts(["original"], [None], [0], [2]), 0, 6, 2.0)
    both = compare_with_real(curve, path)
    assert both["minute"].to_list() == [0, 2, 4, 6, 8]
    assert both["real_scale"].to_list() == [1, 15, 15, None, None]
    assert both["real_depth"].to_list() == [0, 1, 1, None, None]
    assert both["real_max_breadth"].to_list() == [0, 14, 14, None, None]
    assert both["scale"].to_list() == [1] * 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read"),
        ("minute,size\n0,1\n", "no column 'scale'"),
        ("minute,scale,depth,max_breadth\n0,x,0,0\n", "'scale' must hold numbers"),
        ("minute,scale,depth,max_breadth\n0,,0,0\n1,1,1,1\n", "'scale' must hold numbers"),
        ("minute,scale,depth,max_breadth\n3,1,0,0\n1,2,0,0\n", "ascending"),
        ("", "real.csv"),
    ],
)
def test_a_bad_real_curve_is_named(tmp_path, text, message):
    if text is not None:
        (tmp_path / "real.csv").write_text(text)
    curve = curve_of(posts(["original"], [None], [0], [0]), 0, 3, 3.0)
    with pytest.raises(InputError, match=message):
        compare_with_real(curve, tmp_path / "real.csv")
