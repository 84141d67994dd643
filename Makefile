# `make quickstart` and `make test` set up .venv by themselves; ARGS goes to the command that they end with.
SHELL := /bin/bash
SET_UP := .venv/.set-up
EXTRAS := .venv/.extras
CODEMIX := .venv/bin/codemix

help:
	@echo 'make quickstart    a whole small study on this machine: data, training, evaluation, report'
	@echo 'make test          the test suite'
	@echo 'make test-native   the C++ extension under AddressSanitizer and UBSan'
	@echo 'make lint          formatting, style and types'
	@echo 'make clean         remove what was built; runs/ stays'

quickstart: $(SET_UP)
	@$(CODEMIX) quickstart $(ARGS)

# One more worker than the two cores that it is meant for: tests wait for ranks, timeouts and disks a third of the time.
# Bytecode is kept, whatever the shell asks: each worker would rewrite the asserts of all tests in every run.
test: $(EXTRAS)
	@PYTHONDONTWRITEBYTECODE= .venv/bin/pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder $(ARGS)

test-native: $(SET_UP)
	@tests/native/run.sh $(ARGS)

lint: $(SET_UP)
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/clang-format --dry-run --Werror $(wildcard csrc/*/* tests/helpers/*/*.cpp)
	.venv/bin/codespell

clean:
	rm -rf .venv build dist *.egg-info megatron_codemix/_C.*.so
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(SET_UP): pyproject.toml constraints.txt setup.py tools/setup.sh $(wildcard csrc/*/* tests/helpers/*/*.cpp)
	@tools/setup.sh
	@touch $@

# Not for quickstart: it downloads hundreds of megabytes and needs none of them.
$(EXTRAS): $(SET_UP)
	@tools/setup.sh --extras
	@touch $@

.PHONY: help quickstart test test-native lint clean
