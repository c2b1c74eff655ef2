# Two commands on a fresh machine (Debian 12: apt-get install -y git make python3): `make demo`, `make test`.
# make ends with 2 whatever a recipe ends with; deploy/demo.py itself tells its exit codes apart.

.DEFAULT_GOAL := help
.PHONY: help demo test mutants nightly bench screenshots fuzz venv clean

# What .venv was made from: this folder (its scripts name it), this Python, these dependencies.
KEY := $(shell { pwd; python3 -c 'import sys; print(sys.version, sys.base_prefix)'; cat pyproject.toml; } \
	2>/dev/null | sha256sum | cut -c1-16)
RUN := .venv/run-$(KEY)
DEV := .venv/dev-$(KEY)

help:
	@echo 'make demo              three managers and five nodes on this machine, until Ctrl-C'
	@echo 'make demo DURATION=20  the same for 20 s; fails unless all nodes are active and the managers agree'
	@echo 'make demo PORTS=17000  on 127.0.0.1 alone, ports from 17000 on, when the usual ones are taken'
	@echo 'make test              every check; PARTIAL=1 without root: although tests had to be skipped'
	@echo 'make mutants           known bugs put into the core: which checker names each; run again, it goes on'
	@echo 'make nightly           long sweeps of the simulator, within the hour (MINUTES=10: less); run again, it goes on'
	@echo 'make bench             figures of this machine, in some 4 minutes, beside serf where it is installed'
	@echo 'make fuzz SECONDS=60   feed the gossip decoders what covers most of them; what is learned stays as tests'
	@echo 'make screenshots       the pictures of the page that README shows, by chromium, in some 2 minutes'
	@echo 'make venv              only install what the programs need'
	@echo 'make clean             remove all that the others made'
	@echo 'V=1                    show what pip and apt-get say'

# exec: the demo takes the place of the shell, so a signal that make passes on reaches it.
demo: $(RUN)
	@exec .venv/bin/python deploy/demo.py $(if $(PORTS),--ports '$(PORTS)') $(if $(DURATION),--duration '$(DURATION)')

test: $(DEV)
	@exec .ci/test

mutants: $(DEV)
	@mkdir -p .nightly
	@exec .venv/bin/python -m simulations mutants --seeds 1000 --jobs "$$(nproc)" --record .nightly/mutants.jsonl

nightly: $(DEV)
	@exec .ci/nightly

bench: $(RUN)
	@exec .venv/bin/python -m benchmarks $(if $(WRITE),--write)

screenshots: $(DEV)
	@exec .venv/bin/python -m tests.e2e.screenshots docs/screenshots

fuzz: $(DEV)
	@.venv/bin/pip -q --disable-pip-version-check install --group fuzz
	@PYTHONPATH=. exec .venv/bin/python tests/gossip/fuzz.py $(or $(SECONDS),60)

venv: $(RUN)

$(RUN):
	@exec .ci/venv run $(KEY)

$(DEV):
	@exec .ci/venv dev $(KEY)

clean:
	rm -rf .venv .bench .demo .nightly .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
