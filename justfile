# Development commands; each is one line that also works without just.

# lint, formatting, types, layers
check:
    ruff check . && ruff format --check . && mypy && lint-imports

test *args:
    pytest -q -n auto --dist worksteal {{args}}

# measure; each benchmark prints one JSON object
bench:
    for file in benchmarks/*.py; do python "$file"; done

# everything that continuous integration does
ci:
    .ci/run
