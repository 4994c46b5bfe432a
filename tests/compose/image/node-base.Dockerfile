# All of a backend node but leaderl itself: PostgreSQL 15, etcd, Java 17, runit, the search engine.
ARG BASE=debian:bookworm-slim
FROM ${BASE} AS search
RUN apt-get -q update && apt-get -q -y install --no-install-recommends unzip
ARG ARCHIVE
COPY ${ARCHIVE} /tmp/search.zip
RUN unzip -q /tmp/search.zip -d /tmp/search && mv /tmp/search/* /opt/search

FROM ${BASE}
ENV LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive
# leaderl makes its own cluster: Debian's default one would hold the port and a data directory nobody watches.
RUN mkdir -p /etc/postgresql-common /usr/share/man/man1 /usr/share/man/man7 \
 && printf 'create_main_cluster = false\n' > /etc/postgresql-common/createcluster.conf \
 && apt-get -q -o Acquire::Retries=3 update \
 && apt-get -q -y -o Acquire::Retries=3 install --no-install-recommends \
      postgresql-15 postgresql-client-15 etcd-server etcd-client openjdk-17-jre-headless \
      runit iproute2 procps nftables ca-certificates curl \
 && rm -rf /var/lib/apt/lists/* /etc/service/* /etc/runit/runsvdir/default/*
RUN useradd --system --home-dir /opt/search --shell /usr/sbin/nologin search
COPY --from=search --chown=search:search /opt/search /opt/search
# Versions after 6 look for Java only here.
RUN mkdir -p /opt/search/logs /opt/search/plugins && chown search:search /opt/search/logs /opt/search/plugins \
 && ln -s "$(dirname "$(dirname "$(readlink -f /usr/bin/java)")")" /opt/search/jdk \
 && mkdir -p /etc/service /etc/leaderl && chmod 0755 /etc/leaderl
# As on a real node: PID 1 is the service manager. Killing the daemon kills nothing else; SIGHUP ends all services in order.
STOPSIGNAL SIGHUP
CMD ["/usr/bin/runsvdir", "-P", "/etc/service"]
