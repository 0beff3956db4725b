# `make demo` shows the main job on the embedded sample, `make test` runs every check.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# nothing but what the locks name, byte for byte, and no code of a package at installation …
LOCKED := $(PIP) install --require-hashes --no-deps --only-binary :all:
# … but for the one that has no wheel, and whose only use is in the tests
SOURCE := --no-binary jsonpath-rw --no-build-isolation
READY := $(VENV)/.ready
READY_DEV := $(VENV)/.ready-dev
DEMO := demo

.PHONY: setup setup-dev test lint demo audit soak clean

setup: $(READY)

setup-dev: $(READY_DEV)

$(READY): requirements.lock requirements-cpu.lock requirements-cuda.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the pinned dependencies (about a minute and a half) …"
	@$(LOCKED) -r requirements-cpu.lock || echo "no CPU build of torch here: the index's own build is taken"
	@$(LOCKED) -r requirements.lock
	@! $(PIP) check | grep -q '^torch .* requires cuda-' || $(LOCKED) -r requirements-cuda.lock
	@$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@$(PIP) check
	@touch $(READY)

$(READY_DEV): $(READY) requirements-dev.lock
	@echo "installing what the tests, the documentation and every extra need …"
	@$(LOCKED) $(SOURCE) -r requirements-dev.lock
	@$(PIP) check
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
	$(BIN)/distill run $(DEMO)/versions/reviews --teacher $(DEMO)/teacher --student 2x64-256-4 --recipe demo --out $(DEMO)/run
	@echo "everything is in $(DEMO)/: versions/reviews, teacher, run/student, run/plain-student"

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
	$(PIP) install --quiet --no-deps --target $(VENV)/fuzz atheris==3.0.0
	$(RELIABLE) PYTHONPATH=$(VENV)/fuzz $(BIN)/python -m tests.reliability.fuzz --json benchmarks/results/soak_fuzz.json
	$(RELIABLE) $(BIN)/python -m tests.reliability.soak --json benchmarks/results/soak_faults.json

clean:
	rm -rf $(VENV) $(DEMO) build dist .pytest_cache .ruff_cache .mypy_cache
