# syntax=docker/dockerfile:1
FROM rust:1-bookworm AS build
WORKDIR /src
COPY . .
# The caches stay out of the image, so the program is copied out of them.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked && cp target/release/pgbelay /usr/local/bin/pgbelay

FROM debian:bookworm-slim
RUN useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin pgbelay \
    && install -d -o pgbelay -g pgbelay -m 0700 /var/lib/pgbelay
COPY --from=build /usr/local/bin/pgbelay /usr/local/bin/pgbelay
COPY config/docker.toml /etc/pgbelay/pgbelay.toml
ENV PGBELAY_CONFIG=/etc/pgbelay/pgbelay.toml \
    PGBELAY_LOG_FORMAT=json
USER pgbelay
# The audit trail must outlive the container.
VOLUME /var/lib/pgbelay
EXPOSE 6432 9632
STOPSIGNAL SIGTERM
# The image has no curl; bash can speak this much HTTP.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/9632 && printf 'GET /healthz HTTP/1.0\\r\\n\\r\\n' >&3 && grep -q '^HTTP/1.[01] 200 ' <&3"]
ENTRYPOINT ["pgbelay"]
CMD ["run"]
