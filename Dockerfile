# The gateway's image: no compiler, no uv, no embedded database, no local model. The demo fleet is in the same wheel,
# so docker-compose.yml runs it from this image too. tests/project/test_image.py executes these lines.

FROM python:3.13-slim AS builder
# The SDKs of the hosted models; `--build-arg EXTRAS=` leaves them out, for OpenAI-compatible servers alone.
ARG EXTRAS="--extra anthropic --extra google --extra groq --extra mcp"
ENV UV_PROJECT_ENVIRONMENT=/opt/portico \
    UV_PYTHON_DOWNLOADS=never \
    UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy
WORKDIR /build
RUN pip install --quiet --disable-pip-version-check "uv>=0.9,<1"
# Dependencies first: this layer stays when only our own code changes.
COPY pyproject.toml uv.lock README.md ./
RUN uv sync --locked --no-default-groups ${EXTRAS} --no-install-project
COPY gateway.toml ./
COPY app ./app
COPY examples/fleet ./examples/fleet
RUN uv sync --locked --no-default-groups ${EXTRAS} --no-editable

FROM python:3.13-slim
RUN useradd --system --uid 10001 --user-group --home-dir /data --create-home portico
COPY --from=builder /opt/portico /opt/portico
WORKDIR /srv/portico
COPY gateway.toml ./
ENV PATH=/opt/portico/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DATA_DIR=/data
USER portico
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=4s --start-period=20s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/api/health/ping', timeout=3)"]
CMD ["portico", "serve", "--host", "0.0.0.0", "--port", "8000"]
