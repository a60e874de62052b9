# Everything a person or CI does here. Needs Python 3.11+, git and make; the rest comes from the package index.

.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode \
	--constraints constraints.txt --build-constraints constraints.txt

# The first Python that is new enough; `make install PYTHON=/path/to/python3.12` overrides it.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$python; break; }; done)

# uv does not read pip's settings: pass on those that decide whether a package index can be reached at all.
ifdef PIP_INDEX_URL
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
endif
ifdef PIP_CERT
export SSL_CERT_FILE ?= $(PIP_CERT)
endif
# Like pip, trust the authorities that this machine trusts (a company's own, say), where it has a list of them.
ifneq ($(wildcard /etc/ssl/certs/* /etc/pki/tls/certs/*),)
export UV_SYSTEM_CERTS ?= true
endif

# From here to the first line of a playbook is what `forge up` prints as its time.
export FORGE_STARTED_AT := $(shell date +%s)

.PHONY: help
help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: install
install: $(VENV)/.installed  ## Create .venv with the pinned dependencies and this checkout

# pip's part is small: it brings uv, which installs the rest in a tenth of pip's time. The base Python's own pip is used
# where there is one (Debian's Python comes without the means to put pip into a new environment).
$(BIN)/uv:
	@if [ -z "$(PYTHON)" ]; then \
		echo "Forge needs Python 3.11 or newer: install it, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python" >&2; exit 1; fi
	@echo "Creating $(VENV) with $$($(PYTHON) --version)"
	@if $(PYTHON) -m pip --version >/dev/null 2>&1; then \
		$(PYTHON) -m venv --without-pip $(VENV); pip="$(PYTHON) -m pip --python $(BIN)/python"; \
	elif $(PYTHON) -c 'import ensurepip' 2>/dev/null; then \
		$(PYTHON) -m venv $(VENV); pip="$(BIN)/python -m pip"; \
	else \
		echo "$(PYTHON) has no pip: install python3-pip or python3-venv (Debian, Ubuntu), or the like." >&2; exit 1; fi; \
	$$pip --quiet --disable-pip-version-check install --no-compile --no-deps -c constraints.txt uv

$(VENV)/.installed: $(BIN)/uv pyproject.toml constraints.txt
	@echo "Installing the pinned dependencies"
	@$(UV) -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "Installing the tools for development"
	@$(UV) -e '.[dev]'
	@touch $@

.PHONY: run
run: install  ## Start everything, run the demo job once, serve until Ctrl-C
	@exec $(BIN)/forge up

.PHONY: demo
demo: install  ## Start everything, run the demo job, stop; fails if the job failed
	@exec $(BIN)/forge demo

.PHONY: test
test: lint types  ## Everything CI runs: lint, types and all tests
	@tests/install_openssh.sh
	$(BIN)/pytest -n auto --dist loadfile

.PHONY: lint
lint: $(VENV)/.installed-dev  ## Style and mistakes (ruff)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.PHONY: types
types: $(VENV)/.installed-dev  ## Types (mypy, strict)
	$(BIN)/mypy

.PHONY: fix
fix: $(VENV)/.installed-dev  ## Repair what ruff can repair
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: test-e2e
test-e2e: $(VENV)/.installed-dev  ## Only the tests of the whole system
	$(BIN)/pytest tests/e2e

.PHONY: bench
bench: install  ## The speed claims of the README, measured here and now
	$(BIN)/python -m benchmarks.launch
	$(BIN)/python -m benchmarks.events

.PHONY: pins
pins: $(BIN)/uv  ## Write constraints.txt anew with today's versions of everything
	@echo 'setuptools uv' | tr ' ' '\n' | $(BIN)/uv pip compile --quiet --universal --upgrade --no-annotate \
		--custom-compile-command 'make pins' --extra dev --output-file constraints.txt pyproject.toml -

.PHONY: clean
clean:  ## Remove .venv and caches (the data directory stays)
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
