"""``python -m tests.enclave_boot.prepare``: build the emulator if it is missing, and always the image to boot."""

import argparse
import sys

from nitro.arguments import add_inputs, inputs_of
from nitro.errors import BuildError
from tests.enclave_boot.emulator import build_qemu, build_vsock
from tests.enclave_boot.paths import EIF, GVPROXY, QEMU, VSOCK, missing_tools
from tests.enclave_boot.variant import build_variant
from tools.eif.cpio import CpioError
from tools.eif.layout import EifError


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.enclave_boot.prepare", description=__doc__)
    add_inputs(parser)
    arguments = parser.parse_args()
    if lacking := missing_tools():
        print(f"prepare: not installed: {', '.join(lacking)}", file=sys.stderr)
        return 1
    try:
        if not (QEMU.exists() and GVPROXY.exists()):
            print("QEMU: five minutes or so", flush=True)
            build_qemu()
        if not VSOCK.exists():
            print("vhost-device-vsock: two minutes or so", flush=True)
            build_vsock()
        pcrs = build_variant(inputs_of(arguments))
    except (BuildError, EifError, CpioError, OSError) as error:
        print(f"prepare: {error}", file=sys.stderr)
        return 1
    print(f"{EIF.name}: a variant, with a stand-in for nitriding and addresses of simulators")
    for index, value in sorted(pcrs.items()):
        print(f"PCR{index} {value.hex()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
