"""Numba kernels for what NumPy, SciPy and Polars cannot express in batches.

Each kernel stands beside a plain NumPy (or Python) version that its test compares it with.
Compilation is lazy and cached on disk; no kernel uses ``fastmath`` or a sum across threads,
so results do not depend on the number of threads.
"""
