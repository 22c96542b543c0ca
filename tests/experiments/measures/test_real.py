"""Errors against a real cascade, by hand and on the public data."""

import os
from pathlib import Path

import numpy as np
import pytest

from oasis.errors import InputError
from oasis.experiments.baselines import Followers, fit_edge_probability, independent_cascade
from oasis.experiments.measures import (
    fit_saturating,
    held,
    normalized_rmse,
    read_real_cascades,
    read_real_minutes,
    step_functions,
)
from oasis.experiments.measures.real import REAL_CASCADES
from oasis.population import load_population

DATA = Path(os.environ.get("OASIS_DATA", Path(__file__).parents[4] / "shared" / "data"))
real_data = pytest.mark.skipif(not DATA.is_dir(), reason="real data is absent; set OASIS_DATA to its folder")


def test_a_curve_is_held_between_its_points():
    assert held([0, 3, 6], [1, 5, 7], 8).tolist() == [1, 1, 1, 5, 5, 5, 7, 7, 7]
    assert held([-2, 0.5], [1, 2], 2).tolist() == [1, 2, 2]
    steps = np.cumsum([0.0, *[0.1] * 30])  # minute 3 is 3.0000000000000013
    assert steps[30] != 3
    assert held(steps, np.arange(31), 3)[3] == 30


@pytest.mark.parametrize("minute", [[1, 2, 3], [0, 0, 1], [0, 2, 1], []])
def test_minutes_of_a_curve_ascend_from_zero(minute):
    with pytest.raises(InputError, match="ascending minutes"):
        held(minute, np.arange(len(minute)), 5)


def test_the_error_by_hand():
    real = [1, 2, 4, 100]
    assert normalized_rmse([1, 2, 4], real, 2) == 0
    assert normalized_rmse([1, 2, 7], real, 2) == pytest.approx(np.sqrt(9 / 3) / 4)
    both = normalized_rmse([[1, 2, 7], [1, 2, 1]], real, 2)
    assert both.tolist() == pytest.approx([np.sqrt(3) / 4] * 2)
    assert normalized_rmse(np.mean([[1, 2, 7], [1, 2, 1]], axis=0), real, 2) == 0  # the errors of replicates cancel


def test_the_error_needs_both_curves_and_a_scale():
    with pytest.raises(InputError, match="minutes 0 to 3 needs both curves that long; got simulated minutes 0 to 2"):
        normalized_rmse([1, 2, 3], [1, 2, 3, 4], 3)
    with pytest.raises(InputError, match="real value at minute 1 is 0"):
        normalized_rmse([1, 2], [1, 0], 1)


def test_a_saturating_curve_is_found_again():
    t = np.arange(200)
    found = fit_saturating(80 * (1 - np.exp(-t / 25)))
    assert (found.level, found.minutes) == pytest.approx((80, 25), rel=1e-5)
    assert found.curve(199) == pytest.approx(80 * (1 - np.exp(-t / 25)), rel=1e-4)
    with pytest.raises(InputError, match="that long"):
        fit_saturating(np.ones(100))


def test_bad_files_are_named(tmp_path):
    path = tmp_path / "real.csv"
    path.write_text("minute,scale,depth,max_breadth\n0,1,0,0\n2,2,1,1\n")
    with pytest.raises(InputError, match=r"real\.csv: column 'minute' must count 0, 1, 2"):
        read_real_minutes(path)
    with pytest.raises(InputError, match=r"other\.csv: cannot be read"):
        read_real_cascades(tmp_path / "other.csv")
    path.write_text("label,num_users\nTrue,3\n")
    with pytest.raises(InputError, match="no column 'max_depth'"):
        read_real_cascades(path)
    row = "False,130,2,Business,False_Business_0,2014-10-09,972651"
    path.write_text(f"{','.join(REAL_CASCADES)}\n{row}\n")
    assert read_real_cascades(path)["label"].to_list() == [False]
    for bad in ("maybe,130,", "False,many,", "False,,"):
        path.write_text(f"{','.join(REAL_CASCADES)}\n{row}\n{bad}2,Business,x,2014,1\n")
        with pytest.raises(InputError, match="row 2, column '(label|num_users)': must be of type"):
            read_real_cascades(path)


@real_data
class TestRumour:
    def real(self, name="scale"):
        return read_real_minutes(DATA / "x/False_Business_0_real_curve.csv")[name].to_numpy()

    def graph(self):
        people = load_population("x-csv", DATA / "x/False_Business_0.csv")
        return Followers.of(len(people), people.follower, people.followee)

    def test_the_baselines_of_scale(self):
        reachable = int((independent_cascade(self.graph(), [32], 1.0, 1, 0) >= 0).sum())
        assert reachable == 77
        curves = step_functions(self.real(), 111, reachable)
        curves["saturating"] = fit_saturating(self.real()).curve()
        found = {name: round(float(normalized_rmse(curve, self.real())), 2) for name, curve in curves.items()}
        assert found == {"all at once": 0.36, "reachable at once": 0.19, "real end": 0.23, "saturating": 0.04}

    def test_the_long_window_and_breadth(self):
        curves = {
            **step_functions(self.real(), 111, 77, 499),
            "saturating": fit_saturating(self.real(), 499).curve(499),
        }
        found = {name: round(float(normalized_rmse(curve, self.real(), 499)), 2) for name, curve in curves.items()}
        assert found == {"all at once": 0.2, "reachable at once": 0.21, "real end": 0.15, "saturating": 0.04}
        breadth = self.real("max_breadth")
        assert normalized_rmse(fit_saturating(breadth).curve(), breadth) < 0.05

    def test_no_cascade_on_the_graph_reaches_as_many_as_really_shared(self):
        with pytest.raises(InputError, match="a scale of 104: on this graph it is 1 to 77"):
            fit_edge_probability(self.graph(), [32], float(self.real()[-1]))

    def test_the_real_cascades(self):
        table = read_real_cascades(DATA / "x/cascades_99.csv")
        assert table.height == 100
        assert table["label"].sum() == 50
        assert (table["num_users"].min(), table["num_users"].max()) == (125, 732)
        assert "mean_time" not in table.columns
