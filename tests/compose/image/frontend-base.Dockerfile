# A frontend as the backend sees it: HAProxy polling /leader. See haproxy-start for its configuration.
ARG BASE=debian:bookworm-slim
FROM ${BASE}
ENV LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive
RUN apt-get -q -o Acquire::Retries=3 update \
 && apt-get -q -y -o Acquire::Retries=3 install --no-install-recommends haproxy iproute2 procps curl postgresql-client-15 \
 && rm -rf /var/lib/apt/lists/*
COPY haproxy-start /usr/bin/haproxy-start
STOPSIGNAL SIGTERM
CMD ["/usr/bin/haproxy-start"]
