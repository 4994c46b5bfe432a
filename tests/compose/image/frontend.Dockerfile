# The frontend with the row checker, which comes last for the same reason as in the node image.
ARG BASE=leaderl-frontend-base
FROM ${BASE}
COPY checker /usr/bin/checker
