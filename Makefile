# Dockyard. `make help` tells the targets. Everything is installed below .venv; only `make install` writes elsewhere.
SHELL := /bin/sh
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
# The suite runs a second time with this Python where the machine has it.
OTHER := 3.13
OTHER_VENV := .venv-$(OTHER)
PYTEST_ARGS ?=

SOURCES := $(shell find core tui themes -name __pycache__ -prune -o \( -type f -o -type d \) -print 2>/dev/null)

.PHONY: help venv run test test-other lint bench peers install uninstall clean need-root
export DESTDIR PREFIX OPT UNITS RUNNING

help:
	@echo 'make run     set everything up and open the workstation on the embedded engine (root)'
	@echo 'make test    install what the tests need, then run them all (root)'
	@echo 'make lint    ruff and mypy'
	@echo 'make bench   measure against dockerd, where make peers installed it (root)'
	@echo 'make peers   install docker.io, podman and others for comparison; starts no service (root)'
	@echo 'make install    put it into /opt/dockyard, dockyard on the PATH, and a systemd unit (root, or DESTDIR=)'
	@echo 'make uninstall  take that away again; images stay'
	@echo 'make venv    only the virtual environment, with the tests'"'"' tools'
	@echo 'make clean   remove what these targets made here'
	@echo
	@echo 'PYTHON=/path/to/python3 chooses the interpreter (3.11 or newer).'
	@echo 'PYTEST_ARGS="-k logs" goes to pytest.'

need-root:
	@[ "$$(id -u)" = 0 ] || { \
	  echo 'Containers need root here: repeat the command as root, for example with sudo.' >&2; exit 1; }

$(VENV)/.stamp-venv:
	@.ci/make-venv '$(VENV)'
	@touch '$@'

$(VENV)/.stamp-run: $(VENV)/.stamp-venv pyproject.toml
	@echo 'installing dependencies'
	@.ci/install '$(VENV)' run
	@touch '$@'

$(VENV)/.stamp-test: $(VENV)/.stamp-run
	@echo 'installing the tests'"'"' tools'
	@.ci/install '$(VENV)' test
	@touch '$@'

$(VENV)/.stamp-project: $(VENV)/.stamp-run pyproject.toml README.md LICENSE $(SOURCES)
	@.ci/install '$(VENV)' project
	@touch '$@'

venv: $(VENV)/.stamp-test

run: need-root $(VENV)/.stamp-project
	@.ci/packages run || echo 'networks will be without nftables' >&2
	@exec '$(VENV)/bin/dockyard'

test: need-root $(VENV)/.stamp-test $(VENV)/.stamp-project
	@.ci/packages test
	@$(MAKE) test-other
	@exec '$(VENV)/bin/python' -m pytest -q $(PYTEST_ARGS)

# Without what is long and the same with every Python. Skipped, and said, where no second Python is to be found or the first is the same.
test-other:
	@python=$$(.ci/find-python $(OTHER)); \
	first=$$('$(VENV)/bin/python' -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	if [ "$$first" = '$(OTHER)' ]; then exit 0; fi; \
	if [ -z "$$python" ]; then echo 'Python $(OTHER) not found: testing with Python '"$$first"' alone'; exit 0; fi; \
	if [ ! -e '$(OTHER_VENV)/.stamp-test' ] || [ pyproject.toml -nt '$(OTHER_VENV)/.stamp-test' ]; then \
	  .ci/make-venv '$(OTHER_VENV)' $(OTHER) && .ci/install '$(OTHER_VENV)' test && \
	  touch '$(OTHER_VENV)/.stamp-test' || exit 1; \
	fi; \
	exec '$(OTHER_VENV)/bin/python' -m pytest -q -m 'not vm and not once' $(PYTEST_ARGS)

lint: $(VENV)/.stamp-test
	@'$(VENV)/bin/python' -m ruff check .
	@'$(VENV)/bin/python' -m ruff format --check .
	@'$(VENV)/bin/python' -m mypy

bench: need-root $(VENV)/.stamp-test $(VENV)/.stamp-project
	@.ci/packages test
	@exec '$(VENV)/bin/python' -m tests.bench $(BENCH_ARGS)

peers: need-root
	@.ci/packages peers

install:
	@[ -n "$(DESTDIR)" ] || [ "$$(id -u)" != 0 ] || .ci/packages run || echo 'networks will be without nftables' >&2
	@.ci/deploy build
	@.ci/deploy place

uninstall:
	@.ci/deploy remove

clean:
	@rm -rf '$(VENV)' '$(OTHER_VENV)' build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	@find core tui themes tests -name __pycache__ -prune -exec rm -rf {} +
