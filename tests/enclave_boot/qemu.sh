#!/bin/sh
# Runs in the Debian root: compile the one machine type that Debian's own binaries leave out. Nothing is downloaded.
set -eu
cd /src
dpkg-source --no-check --extract qemu_*.dsc qemu
cd qemu
echo CONFIG_NITRO_ENCLAVE=y >configs/devices/x86_64-softmmu/enclave.mak
./configure --prefix=/usr --target-list=x86_64-softmmu --disable-download --disable-docs --disable-install-blobs \
    --without-default-features --without-default-devices --with-devices-x86_64=enclave \
    --enable-system --enable-tcg --enable-kvm --enable-libcbor --enable-gnutls --enable-vhost-user --enable-fdt=system
ninja -C build qemu-system-x86_64
cp build/qemu-system-x86_64 /usr/bin/
