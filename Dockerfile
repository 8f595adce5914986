# Two images from one build:
#   docker build --target ingest -t ingest .
#   docker build --target worker -t worker .

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --locked --release --package ingest --package worker

# Nothing is added but the binary: the root certificates are compiled in.
FROM debian:bookworm-slim AS ingest
COPY --from=build /src/target/release/ingest /usr/local/bin/ingest
ENV INGEST_LISTEN=0.0.0.0:8080 INGEST_ADMIN_LISTEN=0.0.0.0:9080 LOG_FORMAT=json
EXPOSE 8080 9080
USER 10001:10001
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=3 CMD ["/usr/local/bin/ingest", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/ingest"]

FROM debian:bookworm-slim AS worker
COPY --from=build /src/target/release/worker /usr/local/bin/worker
ENV WORKER_ADMIN_LISTEN=0.0.0.0:9080 LOG_FORMAT=json
EXPOSE 9080
USER 10001:10001
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=3 CMD ["/usr/local/bin/worker", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/worker"]
