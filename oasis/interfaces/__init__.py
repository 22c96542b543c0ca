"""The seams: what a platform, an activation, a recommender, a policy, an embedder and an inference client is.

Axes: ``n`` active agents (sorted by id), ``m`` rows of all their feeds, ``a`` actions.
Implementations are found by name through entry points, see `oasis.plugins`; each is built from its
parameters by ``from_parameters`` and rejects unknown ones.
"""

from oasis.interfaces.components import Activation, Parameters, Platform, Recommender, ShowsScores
from oasis.interfaces.inference import (
    Completion,
    DescribesServers,
    InferenceClient,
    InferenceRequest,
    LimitsRequests,
    ReadsMetrics,
    Schema,
    ServerMetrics,
    schema_text,
)
from oasis.interfaces.interviews import Answer, AnswerSource, Question
from oasis.interfaces.observations import Applied, Feeds, Observations, RowFlag, Source, StepContext, Views
from oasis.interfaces.policies import (
    Ask,
    ChecksAgents,
    ChecksTexts,
    Decisions,
    Policy,
    PolicyContext,
    RendersPrompts,
    Stances,
)
from oasis.world.embeddings import Embedder

__all__ = [
    "Activation",
    "Answer",
    "AnswerSource",
    "Applied",
    "Ask",
    "ChecksAgents",
    "ChecksTexts",
    "Completion",
    "Decisions",
    "DescribesServers",
    "Embedder",
    "Feeds",
    "InferenceClient",
    "InferenceRequest",
    "LimitsRequests",
    "Observations",
    "Parameters",
    "Platform",
    "Policy",
    "PolicyContext",
    "Question",
    "ReadsMetrics",
    "Recommender",
    "RendersPrompts",
    "RowFlag",
    "Schema",
    "ServerMetrics",
    "ShowsScores",
    "Source",
    "Stances",
    "StepContext",
    "Views",
    "schema_text",
]
