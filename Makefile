# `make test` is all that a newcomer needs: it makes its own environment, installs what the tests need, and runs them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SHELL_SCRIPTS := bootstrap.sh $(wildcard bootstrap/*.sh bootstrap/*/*.sh) .ci/run $(wildcard tests/*.sh tests/*/*.sh benchmarks/*.sh)

.PHONY: help test lint soak dist docs picture pins clean

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 16

test: $(VENV)/.complete lint ## Run the checks and every test that does not take long
	$(BIN)/python -m pytest -m "not soak" -n 2 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.complete ## ruff, mypy, shellcheck, and whether generated files are fresh
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/shellcheck $(SHELL_SCRIPTS)
	$(BIN)/python -m bootstrap.build.shell_table --check

soak: $(VENV)/.complete ## What takes long: every moment of being killed, long trainings, large files
	$(BIN)/python -m pytest -m soak --timeout 7200

dist: $(VENV)/.complete ## Build what is to be served: make dist URL=https://example.org/charrnn
	$(BIN)/python -m bootstrap.build.dist --url "$(URL)" --output dist

docs: $(VENV)/.complete ## Write the generated parts of the documentation and of bootstrap.sh
	$(BIN)/python -m bootstrap.build.shell_table --write
	$(BIN)/python -m charrnn.options.docs >$(VENV)/flags.part
	mv $(VENV)/flags.part docs/flags.md
	$(BIN)/python -m bootstrap.build.reference --write
	$(BIN)/python -m tests.lab.matrix --write

picture: $(VENV)/.complete ## Draw the README's picture of the report page (needs chromium)
	$(BIN)/python -m tests.report.picture docs/images/report.png

pins: $(VENV)/.complete ## Pin anew what hosts get
	{ echo "# Written by \`make pins\` from requirements.in: everything that a host gets, torch apart."; \
	  $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-header --no-annotate \
	    bootstrap/install/requirements.in; } >$(VENV)/requirements.part
	mv $(VENV)/requirements.part bootstrap/install/requirements.txt
	$(BIN)/python -m bootstrap.build.shell_table --write

clean: ## Remove the environment and what was built
	rm -rf $(VENV) dist build

# Made whole or not at all: a run that is cut leaves no .complete behind, and the next one begins anew.
$(VENV)/.complete: pyproject.toml tests/system-packages.txt
	tests/prepare.sh "$(PYTHON)" "$(VENV)"
	touch $@
