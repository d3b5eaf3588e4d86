# syntax=docker/dockerfile:1
# The image of Memtrix. `docker build --build-arg EXTRAS= .` leaves out torch, some 800 MB that only
# embeddings by a model in this process need; an Ollama can make them too (docs/install.md).

FROM python:3.13-slim AS build
ARG EXTRAS=embeddings
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /app
# The program gets no pip: nothing is to be installed later.
RUN python -m venv --without-pip /opt/memtrix
# torch comes first and from its own index: the one on PyPI brings gigabytes for graphics cards.
RUN --mount=type=cache,target=/root/.cache/pip \
    if [ -n "$EXTRAS" ]; then \
        pip --python /opt/memtrix install --index-url https://download.pytorch.org/whl/cpu "torch>=2.13,<3"; \
    fi
COPY pyproject.toml README.md config.example.yaml ./
COPY memtrix_as ./memtrix_as
COPY migrations ./migrations
# As in a checkout: the migrations and the example stand beside the package.
RUN --mount=type=cache,target=/root/.cache/pip \
    pip --python /opt/memtrix install --editable ".${EXTRAS:+[$EXTRAS]}"
# Compiled now, since nothing can be written later; without headers and tests, which nothing here
# compiles against or runs; readable for every user.
RUN python -m compileall -q /app \
    && find /opt/memtrix -type d \( -path '*/torch/include' -o -path '*/torch/test' \) -prune -exec rm -rf {} + \
    && chmod -R a+rX /opt/memtrix /app

FROM python:3.13-slim
# tini passes signals on and buries the dead; the rest of the slim image has no curl, wget or git.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* \
    && pip uninstall -y --root-user-action=ignore pip \
    && groupadd --gid 1000 memtrix \
    && useradd --uid 1000 --gid 1000 --home-dir /memtrix --no-create-home --shell /usr/sbin/nologin memtrix \
    && mkdir -p /memtrix/config /memtrix/workspace /memtrix/agents /memtrix/data \
    && chown -R 1000:1000 /memtrix
COPY --from=build /opt/memtrix /opt/memtrix
COPY --from=build /app /app
ENV PATH=/opt/memtrix/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/memtrix/data \
    HF_HOME=/memtrix/data/models \
    MEMTRIX_CONFIG=/memtrix/config/config.yaml
USER 1000:1000
# alembic finds its settings in the current folder.
WORKDIR /app
EXPOSE 29345
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s --retries=3 \
    CMD ["python", "-m", "memtrix_as.local.healthy", "http://127.0.0.1:29345/_matrix/mau/live"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["tini", "--"]
CMD ["memtrix-as", "-c", "/memtrix/config/config.yaml"]
