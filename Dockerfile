# syntax=docker/dockerfile:1

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin hallpass \
 && install -D -m 0755 target/release/hallpass /out/usr/local/bin/hallpass \
 && install -d -m 0700 /out/data

# glibc, libgcc and root certificates; no shell, no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build --chown=0:0 /out/usr/local/bin/hallpass /usr/local/bin/hallpass
# The store. Everything else may be read-only: `docker run --read-only -v hallpass:/data …`.
COPY --from=build --chown=65532:65532 /out/data /data
USER 65532:65532
VOLUME ["/data"]
EXPOSE 8700 8701
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 \
    CMD ["/usr/local/bin/hallpass", "ready", "--config", "/etc/hallpass/hallpass.toml"]
ENTRYPOINT ["/usr/local/bin/hallpass"]
CMD ["serve", "--config", "/etc/hallpass/hallpass.toml"]
