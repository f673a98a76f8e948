# Copyright (c) 2026, dds.socketpipe contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# make demo    a real transfer on this machine, no ssh server and no root needed
# make test    every check; as root, for it makes hosts out of network namespaces
# make lint, make sanity, make unit, make integration, make faults: parts of make test
# make gate    throughput and overhead: what must not get worse
# make bench   the collection beside other tools, into docs/benchmarks: about 40 minutes
# make fuzz    the property tests with many more examples, for a few minutes
# make matrix  the demo, sanity and what a version of ansible-core can change, for each one
# make docs    the reference as a site, in .cache/site/html
# make release-check  the collection as Galaxy and its users get it

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORE ?= ansible-core>=2.16
WORKERS ?= 5
EXAMPLES ?= 2000
CORES ?= 2.16 2.19 2.21
IMPORTER := .cache/importer
AWX := .cache/awx
POSIX := .cache/posix
CHAPTERS ?=
PYTEST := $(BIN)/python -m pytest

.PHONY: demo test lint sanity checks unit integration faults gate bench fuzz matrix docs release-check clean

demo: $(VENV)/core
	$(BIN)/ansible-playbook playbooks/demo.yml

# Sanity tests keep one processor busy, the others wait a lot. What is measured is measured alone.
test: system-packages lint
	$(MAKE) --jobs=2 sanity checks
	$(MAKE) gate

checks: system-packages $(VENV)/bench $(AWX)
	$(PYTEST) -n $(WORKERS) tests/unit tests/integration tests/faults

lint: $(VENV)/tests $(VENV)/release
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	tests/tools/in-collection-tree $(VENV) mypy
	tests/tools/in-collection-tree $(VENV) ansible-lint
	$(BIN)/antsibull-changelog lint
	$(BIN)/reuse lint --lines
	PATH="$(abspath $(BIN)):$$PATH" antsibull-docs lint-collection-docs \
		--plugin-docs --validate-collection-refs all .

sanity: $(VENV)/tests
	tests/tools/in-collection-tree $(VENV) sanity

unit: $(VENV)/tests
	$(PYTEST) -n $(WORKERS) tests/unit

integration: system-packages $(VENV)/bench $(AWX)
	$(PYTEST) -n $(WORKERS) tests/integration

faults: system-packages $(VENV)/tests
	$(PYTEST) -n $(WORKERS) tests/faults

fuzz: $(VENV)/tests
	FUZZ_EXAMPLES=$(EXAMPLES) $(PYTEST) -n $(WORKERS) -m hypothesis -v tests/unit

gate: system-packages $(VENV)/tests
	$(PYTEST) tests/gate

bench: system-packages $(VENV)/bench $(POSIX)
	tests/tools/bench-packages
	PYTHONPATH=tests $(BIN)/python -m bench $(CHAPTERS)

# What runs inside Ansible, and what Ansible does to a task. The engine is the same with all versions.
PLUGIN_TESTS := bars local_endpoint local_files options output_file patience progress_lines rendezvous
TASK_TESTS := arguments async awx_setup backup benchmark_playbook encryption failures helper_option helper_role preflight \
	progress task_keywords transfers
VERSION_CHECKS := $(PLUGIN_TESTS:%=tests/unit/test_%.py) $(TASK_TESTS:%=tests/integration/test_%.py)
CORE_TARGETS := $(addprefix core-,$(CORES))
.PHONY: $(CORE_TARGETS) version-checks

matrix: $(CORE_TARGETS)

# An environment of its own for each version of ansible-core.
$(CORE_TARGETS): core-%:
	python=$$(tests/tools/find-python $*) && $(MAKE) VENV=.cache/core-$* PYTHON="$$python" \
		CORE="ansible-core~=$*.0" demo version-checks sanity

version-checks: system-packages $(VENV)/tests $(AWX)
	$(PYTEST) -n $(WORKERS) $(VERSION_CHECKS)

docs: $(VENV)/release
	tests/tools/in-collection-tree $(VENV) docs

release-check: lint sanity docs $(IMPORTER)/made
	$(PYTEST) tests/release

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

$(VENV)/release: tests/release-requirements.txt $(VENV)/tests
	$(BIN)/pip install --quiet -r tests/release-requirements.txt
	touch $@

$(VENV)/bench: tests/bench-requirements.txt $(VENV)/tests
	$(BIN)/pip install --quiet -r tests/bench-requirements.txt
	touch $@

# It does not go with the newest of what the other tools need.
$(IMPORTER)/made: tests/importer-requirements.txt
	tests/tools/make-venv $(PYTHON) $(IMPORTER)
	$(IMPORTER)/bin/pip install --quiet -r tests/importer-requirements.txt
	touch $@

# The collection awx.awx, which playbooks/awx_setup.yml uses.
$(AWX): tests/tools/pypi-collection | $(VENV)/core
	tests/tools/pypi-collection $(VENV) awx.awx $@

# The collection ansible.posix, whose synchronize `make bench` measures.
$(POSIX): tests/tools/pypi-collection | $(VENV)/core
	tests/tools/pypi-collection $(VENV) ansible.posix $@

clean:
	rm -rf $(VENV) .cache .ansible tests/output
