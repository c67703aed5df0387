# The verbs. Every one bootstraps uv and the locked environment by itself; only git, make and Python 3.11+ must be there.
SHELL := /bin/sh
.DEFAULT_GOAL := help

PYTHON ?= python3
UV := .uv/bin/uv
BIN := .venv/bin
export DO_NOT_TRACK := 1
export GX_ANALYTICS_ENABLED := false
export DBT_SEND_ANONYMOUS_USAGE_STATS := False
export FEAST_USAGE := False
export MLFLOW_DISABLE_TELEMETRY := true

.PHONY: help setup up demo test test-full lint bench bench-lifecycle bench-data bench-recommender bench-fraud bench-serving soak-serving docs clean

help: ## show the verbs
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'

$(UV):
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 13) else f"Python 3.11 or 3.12 is needed, this is {v[0]}.{v[1]}: make PYTHON=python3.11 ...")'
	@$(PYTHON) -m venv .uv && .uv/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.8'

# The stamp is written only after a complete install, so an interrupted one is done again. Libraries are compiled now:
# where PYTHONDONTWRITEBYTECODE is set, as in containers, every process would compile them anew.
.venv/.installed: $(UV) pyproject.toml uv.lock
	@rm -f $@
	@$(UV) sync --locked --compile-bytecode --python $(PYTHON) --quiet || { echo "install failed: run the same command again, it resumes from the cache" >&2; exit 1; }
	@touch $@

setup: .venv/.installed ## install the locked environment into .venv

up: setup ## run the lifecycle on the shop's data and keep Airflow, MLflow and the API running (Ctrl-C ends all)
	@$(BIN)/shopwright up

demo: setup ## the same with two replayed days; exits when done, non-zero if a stage failed
	@$(BIN)/shopwright demo

# Without reordering, the long files begin first and the many short ones fill the end.
test: setup ## unit, contract, behaviour, integration and end-to-end tests
	@$(BIN)/pytest -m "not full" -n 2 --dist loadfile --no-loadscope-reorder

test-full: setup ## the same with more seeds
	@$(BIN)/pytest

lint: setup ## ruff, mypy, import-linter, sqlfluff
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/sqlfluff lint dbt_project/models
	@$(BIN)/sqlfluff lint --templater placeholder feature_repo/pairs

bench: bench-lifecycle bench-data bench-recommender bench-fraud bench-serving ## all benchmarks

bench-lifecycle: setup ## time and size of each stage -> benchmarks/results/lifecycle.json
	@$(BIN)/python benchmarks/bench_lifecycle.py

bench-data: setup ## landing to published marts at 1, 3 and 10 times the default data -> benchmarks/results/data.json
	@$(BIN)/python benchmarks/bench_data.py

bench-recommender: setup ## next-week protocol against the baselines -> benchmarks/results/recommender.json
	@$(BIN)/python benchmarks/bench_recommender.py

bench-fraud: setup ## the fraud model against its baselines, rules and the attainable; features of 1.5 M payments -> benchmarks/results/fraud*.json
	@$(BIN)/python benchmarks/bench_fraud_features.py && $(BIN)/python benchmarks/bench_fraud.py

bench-serving: setup ## decisions and recommendations over HTTP, next to Feast + pyfunc + FastAPI -> benchmarks/results/serving.json
	@$(BIN)/python benchmarks/bench_serving.py

soak-serving: setup ## 30 minutes of load with a random fault each minute -> benchmarks/results/soak_serving.json
	@$(BIN)/python benchmarks/soak_serving.py

docs: setup ## write the generated pages of docs/
	@$(BIN)/python -m ml.shop.contract_page && $(BIN)/python -m ml.embedded.dags_page

clean: ## remove the environment; the shop's state under var/ stays
	@rm -rf .venv .uv
