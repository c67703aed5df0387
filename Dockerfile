# One image for every service of docker-compose.yml. A serving image installs less: `uv sync --no-default-groups`.
FROM python:3.11.14-slim-bookworm

RUN python -m pip install --no-cache-dir 'uv>=0.8' \
 && useradd --system --uid 10001 --create-home shopwright \
 && mkdir /state && chown shopwright /state

WORKDIR /app
COPY pyproject.toml uv.lock README.md LICENSE ./
COPY ml ml
COPY expectations expectations
# Compiled here: the user below may not write beside the libraries, and each process would compile them anew.
RUN uv sync --locked --no-cache --no-group dev --compile-bytecode
COPY dags dags
COPY dbt_project dbt_project
COPY feature_repo feature_repo

USER shopwright
ENV PATH=/app/.venv/bin:$PATH SHOPWRIGHT_STATE_DIR=/state PYTHONUNBUFFERED=1
