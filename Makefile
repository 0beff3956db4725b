# `make demo` shows the main job on the embedded sample, `make test` runs every check.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PIP := -m pip --disable-pip-version-check
# nothing but what the locks name, byte for byte, and no code of a package at installation …
LOCKED := $(PIP) install --require-hashes --no-deps --only-binary :all:
# … but for the one that has no wheel, and whose only use is in the tests
SOURCE := --no-binary jsonpath-rw --no-build-isolation
READY := $(VENV)/.ready
READY_DEV := $(VENV)/.ready-dev
DEMO := demo

RELEASE := build/release

.PHONY: setup setup-dev test lint demo docs notebooks release-check audit soak clean

# what a user without extras needs, by the Python of an environment
define install_base
@$(1) $(LOCKED) -r requirements-cpu.lock || echo "no CPU build of torch here: the index's own build is taken"
@$(1) $(LOCKED) -r requirements.lock
@! $(1) $(PIP) check | grep -q '^torch .* requires cuda-' || $(1) $(LOCKED) -r requirements-cuda.lock
endef

setup: $(READY)

setup-dev: $(READY_DEV)

$(READY): requirements.lock requirements-cpu.lock requirements-cuda.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the pinned dependencies (about a minute and a half) …"
	$(call install_base,$(BIN)/python)
	@$(BIN)/python $(PIP) install --quiet --no-deps --no-build-isolation -e .
	@$(BIN)/python $(PIP) check
	@touch $(READY)

$(READY_DEV): $(READY) requirements-dev.lock
	@echo "installing what the tests, the documentation and every extra need …"
	@$(BIN)/python $(LOCKED) $(SOURCE) -r requirements-dev.lock
	@$(BIN)/python $(PIP) check
	@touch $(READY_DEV)

lint: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python data/sample/make_sample.py --check

test: lint
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE TOKENIZERS_PARALLELISM=false $(BIN)/pytest -n 2 --dist worksteal --durations 15

demo: setup
	@rm -rf $(DEMO)
	$(BIN)/augment run data/sample/reviews/reviews.toml --mlm data/sample/mlm --vectors data/sample/vectors.txt --out $(DEMO)/versions
	$(BIN)/distill teacher $(DEMO)/versions/reviews --init data/sample/mlm --recipe demo --out $(DEMO)/teacher
	$(BIN)/distill run $(DEMO)/versions/reviews --teacher $(DEMO)/teacher --student 2x64-256-4 --recipe demo --report --out $(DEMO)/run
	@printf '  %s\n' "what to try next:" \
		'$(BIN)/distill predict $(DEMO)/run --text "a warm and clever film"' \
		'$(BIN)/augment show $(DEMO)/versions/reviews --rows 3' \
		'$(BIN)/distill run $(DEMO)/versions/reviews --teacher-init data/sample/mlm --student 2x64-256-4 --minutes 3 --out $(DEMO)/own'

# the documentation as a site in build/site, read from the disk; a warning is an error
docs: setup-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# run again what they show: a test notices outputs that are older than their cells
notebooks: setup-dev
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE TOKENIZERS_PARALLELISM=false $(BIN)/python -m tests.notebooks

# the wheel as a user gets it: in an environment of its own, without extras, from a file of rows to an answer
release-check: setup
	@rm -rf $(RELEASE)
	$(BIN)/python $(PIP) wheel --quiet --no-deps --no-build-isolation --wheel-dir $(RELEASE) .
	$(PYTHON) -m venv $(RELEASE)/venv
	$(call install_base,$(RELEASE)/venv/bin/python)
	$(RELEASE)/venv/bin/python $(PIP) install --quiet --no-deps $(RELEASE)/*.whl
	$(RELEASE)/venv/bin/python $(PIP) check
	$(PYTHON) -m tests.smoke $(RELEASE)/venv/bin $(RELEASE)/smoke

# known vulnerabilities of what is locked; the only target that asks more of the network than packages
audit: setup
	$(PYTHON) -m venv $(VENV)/audit
	$(VENV)/audit/bin/pip install --quiet --disable-pip-version-check pip-audit==2.10.1
	$(VENV)/audit/bin/pip-audit --strict --disable-pip --require-hashes -r requirements.lock -r requirements-dev.lock -r requirements-cuda.lock

# the long part of the tests of reliability: about an hour, as root where disks are to be mounted
RELIABLE = OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE TOKENIZERS_PARALLELISM=false
soak: setup-dev
	$(RELIABLE) RELIABILITY_SOAK=1 $(BIN)/pytest -n 2 tests/reliability
	$(RELIABLE) $(BIN)/python -m tests.reliability.mutations --json benchmarks/results/soak_mutations.json
	$(BIN)/python $(PIP) install --quiet --no-deps --target $(VENV)/fuzz atheris==3.0.0
	$(RELIABLE) PYTHONPATH=$(VENV)/fuzz $(BIN)/python -m tests.reliability.fuzz --json benchmarks/results/soak_fuzz.json
	$(RELIABLE) $(BIN)/python -m tests.reliability.soak --json benchmarks/results/soak_faults.json

clean:
	rm -rf $(VENV) $(DEMO) build dist .pytest_cache .ruff_cache .mypy_cache
