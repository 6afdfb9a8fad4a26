# The root file system of `make image`, built with Docker, identical file by file. The base image only builds: every byte
# of the result comes from the locks (nitro/debs.lock, uv.lock), Go's module proxy and this repository.
# Where the host is not x86-64, build with --platform linux/amd64, by which alone an image from scratch is labelled.
ARG BASE=golang:1.26.8-bookworm
FROM ${BASE} AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3 python3-venv \
    && python3 -m venv /uv \
    && /uv/bin/pip install --no-cache-dir uv==0.13.9
ENV PATH=/uv/bin:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
WORKDIR /source
COPY pyproject.toml uv.lock ./
COPY nitro nitro
COPY gateway gateway
COPY tools/__init__.py tools/command_line.py tools/
ARG OPTIONS=
RUN python3 -B -m nitro.image --rootfs /rootfs ${OPTIONS}

FROM scratch
COPY --from=build /rootfs/ /
ENV PATH=/usr/local/bin:/usr/bin:/bin SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt LANG=C.UTF-8
CMD ["/usr/local/bin/start.sh"]
