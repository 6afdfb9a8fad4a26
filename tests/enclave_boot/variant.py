"""The image variant that is booted: this repository's, with a stand-in for nitriding and addresses of simulators.

Kernel, command line, init and with them PCR1 are those of the real image; PCR0 and PCR2 are not.
"""

import tempfile
from pathlib import Path

from nitro import boot, golang
from nitro.image import rootfs
from nitro.inputs import Inputs
from nitro.ramdisks import application
from tests.enclave_boot.paths import EIF
from tools.eif.cpio import write_cpio
from tools.eif.metadata import encode_metadata
from tools.eif.pcrs import Pcrs
from tools.eif.writer import Parts, write_eif

STANDIN = Path(__file__).parent / "standin"
OPENAI_PORT, FACILITATOR_PORT, CHAIN_PORT, PRICE_PORT = 9101, 9102, 9103, 9104
"""Loopback ports inside the enclave that the stand-in carries to the same vsock ports of the parent."""
ENVIRONMENT = {
    "STANDIN_FORWARDS": f"{OPENAI_PORT},{FACILITATOR_PORT},{CHAIN_PORT},{PRICE_PORT}",
    "OPENAI_BASE_URL": f"http://127.0.0.1:{OPENAI_PORT}/v1",
    "GATEWAY_PRICE_URL": f"http://127.0.0.1:{PRICE_PORT}",
}


def build_variant(inputs: Inputs) -> Pcrs:
    """Write the image file; the kernel must have been compiled. Raises BuildError, EifError, CpioError."""
    start = boot.own(inputs)
    EIF.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=EIF.parent) as scratch:
        daemon = golang.build(STANDIN, Path(scratch) / "standin", inputs).read_bytes()
        ramdisk = Path(scratch) / "application.cpio"
        with ramdisk.open("wb") as file:
            tree = rootfs.build(inputs, daemon)
            write_cpio(application(tree, rootfs.COMMAND, {**rootfs.ENVIRONMENT, **ENVIRONMENT}), file)
        metadata = encode_metadata("tee-gateway-boot-test", "stand-in for nitriding")
        return write_eif(Parts(start.kernel, start.cmdline, (start.ramdisk, ramdisk), metadata), EIF)
