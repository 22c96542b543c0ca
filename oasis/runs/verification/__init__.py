"""Verification of run directories: what is damaged, and what can be recovered."""

from oasis.runs.verification.findings import Check, Problem, Verification
from oasis.runs.verification.verification import verify

__all__ = ["Check", "Problem", "Verification", "verify"]
