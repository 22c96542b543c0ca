"""Language models: a client over transports, with limits, retries, accounting and a journal."""

from oasis.inference.accounting import Usage
from oasis.inference.build import build_client, model_name
from oasis.inference.calls import RecordedAnswers
from oasis.inference.client import Client
from oasis.inference.http import HttpTransport
from oasis.inference.local import LocalTransport, find_weights, local_model_report
from oasis.inference.mock import MockTransport
from oasis.inference.probing import EndpointReport, check_endpoint
from oasis.inference.transport import Prompt, Reply, Transport, TransportError

__all__ = [
    "Client",
    "EndpointReport",
    "HttpTransport",
    "LocalTransport",
    "MockTransport",
    "Prompt",
    "RecordedAnswers",
    "Reply",
    "Transport",
    "TransportError",
    "Usage",
    "build_client",
    "check_endpoint",
    "find_weights",
    "local_model_report",
    "model_name",
]
