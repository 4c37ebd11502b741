# One image for every command: the worker (default), `case-worker migrate`, `case-worker sandbox` and the rest.

FROM python:3.13-slim AS wheel
WORKDIR /src
COPY requirements-build.lock ./
RUN pip install --no-cache-dir --require-hashes --no-deps -r requirements-build.lock
COPY pyproject.toml README.md ./
COPY migrations migrations
COPY worker worker
RUN python -m hatchling build -t wheel -d /dist

FROM python:3.13-slim
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin worker
# The dependencies change less often than the code, so they are a layer of their own.
# For an image that can send traces: --build-arg LOCK=requirements-otel.lock
ARG LOCK=requirements.lock
COPY ${LOCK} /tmp/requirements.lock
RUN pip install --no-cache-dir --require-hashes --no-deps -r /tmp/requirements.lock && rm /tmp/requirements.lock
RUN --mount=type=bind,from=wheel,source=/dist,target=/dist pip install --no-cache-dir --no-deps /dist/*.whl
USER worker
WORKDIR /tmp
STOPSIGNAL SIGTERM
# For the default command; any other needs a check of its own. A worker that hangs may well answer a ping, so its own
# loops touch this file each second (docs/liveness.md).
ENV WORKER_LIVENESS_FILE=/tmp/case-worker-alive
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD test -n "$(find "$WORKER_LIVENESS_FILE" -mmin -1)"
CMD ["celery", "-A", "worker", "worker", "--loglevel", "INFO", "--without-gossip", "--without-mingle", "--concurrency", "2"]
