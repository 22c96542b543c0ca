"""Public conformance suites and small worlds: what every implementation of a seam is tested with."""
