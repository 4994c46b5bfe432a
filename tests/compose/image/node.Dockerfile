# A backend node. The binary comes last and alone, so that a new build of leaderl costs a second.
ARG BASE=leaderl-node-base:6.8.23
FROM ${BASE}
# See nofile.c: empty where the host's limits are as a node's should be. Only the engine's user gets it.
COPY nofile.so /usr/lib/nofile.so
RUN if [ -s /usr/lib/nofile.so ]; then \
      printf '#!/bin/sh\nLD_PRELOAD=/usr/lib/nofile.so exec /usr/lib/jvm/java-17-openjdk-amd64/bin/java "$@"\n' > /usr/bin/java.new \
      && sed -i "s|/usr/lib/jvm/java-17-openjdk-amd64|$(readlink -f /opt/search/jdk)|" /usr/bin/java.new \
      && chmod 755 /usr/bin/java.new && mv /usr/bin/java.new /usr/bin/java \
      && rm /opt/search/jdk && mkdir -p /opt/search/jdk/bin && ln -s /usr/bin/java /opt/search/jdk/bin/java; \
    fi
# See wallclock.c: does nothing until a row asks for it.
COPY wallclock.so /usr/lib/wallclock.so
COPY leaderl /usr/bin/leaderl
RUN ln -s leaderl /usr/bin/chef-backend-ctl
