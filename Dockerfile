# syntax=docker/dockerfile:1
# Diarist with the models that come with it: works without a network from the first start.

FROM rust:1-slim-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends cmake g++ make pkg-config python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY scripts scripts
RUN python3 scripts/onnxruntime.py
COPY . .
RUN cargo build --release --locked

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates curl libgomp1 libstdc++6 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home diarist \
    && install --directory --owner diarist /models
COPY --from=build /src/target/release/diarist /usr/local/bin/diarist
COPY --from=build /src/.runtime/libonnxruntime.so /usr/local/lib/libonnxruntime.so
COPY --from=build /src/models /usr/local/share/diarist/models
ENV DIARIST_LISTEN=0.0.0.0:8000 \
    DIARIST_MODELS_DIR=/models \
    DIARIST_BUNDLED_MODELS_DIR=/usr/local/share/diarist/models \
    DIARIST_ONNXRUNTIME=/usr/local/lib/libonnxruntime.so
USER diarist
VOLUME /models
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD curl --silent --fail --output /dev/null http://127.0.0.1:8000/health
ENTRYPOINT ["diarist"]
CMD ["serve"]
