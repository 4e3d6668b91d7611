# The server in one image: `docker build -t volttron .`, then
# `docker run --read-only --tmpfs /tmp -v volttron:/var/lib/volttron -p 8443:8443 volttron`.
# The first start prints the one-time code: `docker logs`.

FROM node:22-bookworm-slim AS node

FROM rust:1.95-bookworm AS build
# Node is needed while building only: it fetches the browser libraries that become part of the binary.
COPY --from=node /usr/local/bin/node /usr/local/bin/node
COPY --from=node /usr/local/lib/node_modules /usr/local/lib/node_modules
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm
WORKDIR /src
COPY . .
RUN cargo build --release --locked --package vt-cli \
    && mkdir -p /out \
    && cp target/release/volttron /out/ \
    # One executable serves all programs, by the name under which it is called.
    && for name in vctl vcfg volttron-ctl volttron-cfg start-volttron stop-volttron vpkg install-agent.py; do ln -s volttron "/out/$name"; done

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates tzdata \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/volttron --shell /usr/sbin/nologin volttron \
    && install -d -o volttron -g volttron -m 0700 /var/lib/volttron
COPY --from=build /out/ /usr/local/bin/
USER volttron
ENV VOLTTRON_HOME=/var/lib/volttron
VOLUME /var/lib/volttron
EXPOSE 8443
# Everything written goes below the volume, so the root file system may be read-only.
HEALTHCHECK --interval=30s --timeout=10s --start-period=20s CMD ["vctl", "--timeout", "5", "peerlist"]
ENTRYPOINT ["volttron"]
CMD ["--bind-web-address", "https://0.0.0.0:8443"]
