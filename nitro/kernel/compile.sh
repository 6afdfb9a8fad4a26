#!/bin/sh
# Runs in the root of locked tools, with the source in /src/linux. Argument: how many jobs at a time.
set -eu
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C TZ=UTC HOME=/
export KBUILD_BUILD_TIMESTAMP='Thu Jan  1 00:00:00 UTC 1970' KBUILD_BUILD_VERSION=1
export KBUILD_BUILD_USER=tee-gateway KBUILD_BUILD_HOST=enclave
umask 022

cd /src/linux
kernel() {
    make --no-print-directory CC=gcc-12 HOSTCC=gcc-12 "$@"
}

kernel KCONFIG_ALLCONFIG=/src/enclave.config allnoconfig
grep '^CONFIG_' /src/enclave.config | while read -r wanted; do
    grep -qxF "$wanted" .config || {
        echo "the kernel does not take $wanted" >&2
        exit 1
    }
done
kernel -j "$1" bzImage
