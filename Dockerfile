# Two images from one base: `--target engine` and `--target operator`. Each holds its own package and the dependencies of its
# group in pyproject.toml, pinned by constraints.txt with hashes; neither holds a compiler, pip's cache or the other package.
# `make images` builds them, also where no registry can be reached.
FROM docker.io/library/python:3.11-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1 PYTHONHASHSEED=0
# strip, to drop the symbols of compiled modules; its version changes no byte that is loaded
# hadolint ignore=DL3008
RUN apt-get update -qq && apt-get install -qq --yes --no-install-recommends binutils >/dev/null \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
RUN python3 -m venv /opt/pip && python3 -m venv --without-pip /opt/tradingbot
COPY pyproject.toml constraints.txt hack/images/pins.py hack/images/finish.py ./

# A package index of your own: `--secret id=pip,src=pip.conf` and `--secret id=ca,src=bundle.pem`, mounted for this step only.
FROM build AS build-engine
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca,target=/etc/pip.ca.pem \
    python3 pins.py engine <constraints.txt >pins.txt \
 && /opt/pip/bin/pip --python /opt/tradingbot/bin/python3 install --quiet --no-compile \
      --only-binary :all: --require-hashes --requirement pins.txt
COPY engine /opt/source
RUN cp -R /opt/source/tradingbot_engine /opt/tradingbot/lib/python3*/site-packages/ \
 && python3 finish.py /opt/tradingbot tradingbot_engine tradingbot-engine

FROM build AS build-operator
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca,target=/etc/pip.ca.pem \
    python3 pins.py operator <constraints.txt >pins.txt \
 && /opt/pip/bin/pip --python /opt/tradingbot/bin/python3 install --quiet --no-compile \
      --only-binary :all: --require-hashes --requirement pins.txt
COPY operator /opt/source
RUN cp -R /opt/source/tradingbot_operator /opt/tradingbot/lib/python3*/site-packages/ \
 && python3 finish.py /opt/tradingbot tradingbot_operator tradingbot

# What both run on: an account without a shell, no home but /tmp, and nothing on Python's path but what is installed.
FROM docker.io/library/python:3.11-slim AS runtime
RUN echo "tradingbot:x:65532:65532::/tmp:/usr/sbin/nologin" >>/etc/passwd && echo "tradingbot:x:65532:" >>/etc/group
ENV PATH=/opt/tradingbot/bin:/usr/local/bin:/usr/bin:/bin HOME=/tmp \
    PYTHONSAFEPATH=1 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /tmp
USER 65532:65532
# Kubernetes probes the admin port itself.
HEALTHCHECK NONE

FROM runtime AS engine
LABEL org.opencontainers.image.title="tradingbot-engine" org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build-engine /opt/tradingbot /opt/tradingbot
EXPOSE 8080
ENTRYPOINT ["tradingbot-engine"]
CMD ["--help"]

FROM runtime AS operator
LABEL org.opencontainers.image.title="tradingbot-operator" org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build-operator /opt/tradingbot /opt/tradingbot
EXPOSE 8080
ENTRYPOINT ["tradingbot"]
CMD ["operator"]
