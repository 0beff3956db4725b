# `make demo` shows the main job on the embedded sample, `make test` runs every check.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO := demo

.PHONY: setup test lint demo clean

setup: $(READY)

$(READY): requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the pinned dependencies (about two minutes) …"
	@$(BIN)/python -m pip install --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(READY)

lint: setup
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

clean:
	rm -rf $(VENV) $(DEMO) build dist .pytest_cache .ruff_cache .mypy_cache
