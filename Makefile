# make demo    a real transfer on this machine, no ssh server and no root needed
# make test    every check; as root, for it makes hosts out of network namespaces
# make lint, make sanity, make unit, make integration, make faults: parts of make test
# make bench   throughput and overhead, printed
# make fuzz    the property tests with many more examples, for a few minutes

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORE ?= ansible-core>=2.16
WORKERS ?= 5
EXAMPLES ?= 2000
PYTEST := $(BIN)/python -m pytest

.PHONY: demo test lint sanity checks unit integration faults bench fuzz clean

demo: $(VENV)/core
	$(BIN)/ansible-playbook playbooks/demo.yml

# Sanity tests keep one processor busy, the others wait a lot. What is measured is measured alone.
test: system-packages lint
	$(MAKE) --jobs=2 sanity checks
	$(MAKE) bench

checks: system-packages $(VENV)/tests
	$(PYTEST) -n $(WORKERS) tests/unit tests/integration tests/faults

lint: $(VENV)/tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	tests/tools/in-collection-tree mypy
	tests/tools/in-collection-tree ansible-lint

sanity: $(VENV)/tests
	tests/tools/in-collection-tree sanity

unit: $(VENV)/tests
	$(PYTEST) -n $(WORKERS) tests/unit

integration: system-packages $(VENV)/tests
	$(PYTEST) -n $(WORKERS) tests/integration

faults: system-packages $(VENV)/tests
	$(PYTEST) -n $(WORKERS) tests/faults

fuzz: $(VENV)/tests
	FUZZ_EXAMPLES=$(EXAMPLES) $(PYTEST) -n $(WORKERS) -m hypothesis -v tests/unit

bench: system-packages $(VENV)/tests
	$(PYTEST) tests/bench

.PHONY: system-packages
system-packages:
	tests/tools/system-packages

$(VENV)/core:
	tests/tools/make-venv $(PYTHON) $(VENV)
	$(BIN)/pip install --quiet "$(CORE)"
	touch $@

$(VENV)/tests: tests/requirements.txt $(VENV)/core
	$(BIN)/pip install --quiet -r tests/requirements.txt
	touch $@

clean:
	rm -rf $(VENV) .cache .ansible tests/output
