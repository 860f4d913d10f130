# docker build -t astray .
# docker run -p 8001:8001 -p 8002:8002 -v "$PWD/models:/models" astray
FROM debian:bookworm-slim AS build
WORKDIR /src
# First, so that a change of the sources does not install the compiler again.
COPY scripts/install-deps scripts/install-deps
RUN scripts/install-deps build
COPY CMakeLists.txt CMakePresets.json ./
COPY scripts/build scripts/build
COPY proto proto
COPY engine engine
COPY server server
COPY client client
RUN scripts/build -DASTRAY_TESTS=OFF && strip build/release/bin/astray build/release/bin/astrayd

FROM debian:bookworm-slim
COPY scripts/install-deps /tmp/install-deps
RUN /tmp/install-deps runtime && rm -rf /tmp/install-deps /var/lib/apt/lists/* \
    && install -d -o 65532 -g 65532 /models
COPY --from=build /src/build/release/bin/astray /src/build/release/bin/astrayd /usr/local/bin/
USER 65532:65532
VOLUME /models
EXPOSE 8001 8002
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 \
  CMD ["/usr/local/bin/astray", "models", "list", "--server=127.0.0.1:8001"]
ENTRYPOINT ["/usr/local/bin/astrayd"]
CMD ["--host=0.0.0.0", "--model-base-path=/models"]
