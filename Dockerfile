# syntax=docker/dockerfile:1
FROM python:3.11-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
RUN python -m venv /opt/venv
# The lock first: it changes less often than the code, and this layer is the large one.
COPY requirements.lock ./
RUN /opt/venv/bin/pip install --require-hashes -r requirements.lock
COPY pyproject.toml README.md ./
COPY src ./src
RUN /opt/venv/bin/pip install --no-deps --no-build-isolation .

FROM python:3.11-slim-bookworm
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="wawp-exporter" \
      org.opencontainers.image.description="Prometheus exporter and alerting sidecar for WhatsApp sessions (Wawp and WAHA)" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    WAWP_EXPORTER_REVISION=${REVISION}
RUN groupadd --gid 10011 wawp && useradd --uid 10011 --gid wawp --no-create-home --shell /usr/sbin/nologin wawp \
    && install --directory --owner wawp --group wawp /data
COPY --from=build /opt/venv /opt/venv
USER 10011:10011
WORKDIR /
VOLUME /data
EXPOSE 10011 10012
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:10011/-/healthy', timeout=4)"]
ENTRYPOINT ["wawp-exporter"]
CMD ["serve"]
