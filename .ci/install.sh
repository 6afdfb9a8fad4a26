# shellcheck shell=bash
# What the machine needs beside Python, Go, Rust and Node.js: Debian's packages. Sourced by .ci/run.
packages="binutils buildah cpio curl faketime libssl-dev mmdebstrap nginx openssl pkg-config postgresql prometheus shellcheck xz-utils"
missing=""
for package in $packages; do
    dpkg -s "$package" >/dev/null 2>&1 || missing="$missing $package"
done
if [ -n "$missing" ]; then
    apt-get update -qq
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi
