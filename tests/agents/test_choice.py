"""The choice policy as a policy."""

from oasis.agents.choice import Choice
from oasis.testing.policy import PolicyTests


class TestConformance(PolicyTests):
    def make(self):
        return Choice()


class TestLively(PolicyTests):
    """The same with every action likely, so that every branch is taken."""

    def make(self):
        from oasis.agents.choice.model import _ACTIONS

        likely = {action: {"intercept": 0.0} for action in _ACTIONS}
        return Choice.from_parameters({"coefficients": likely, "persistence": 0.95})


class TestByRates(PolicyTests):
    """The same by given rates."""

    max_actions = 100

    def make(self):
        from oasis.agents.choice.model import _ACTIONS

        return Choice.from_parameters({"rates": dict.fromkeys(_ACTIONS, 0.4), "max_actions": 100})
