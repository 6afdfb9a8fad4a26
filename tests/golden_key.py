"""A published RSA-2048 key for golden vectors, never to be used elsewhere."""

from cryptography.hazmat.primitives.asymmetric import rsa

_P = int(
    "e2f35753100437ea1341c605a286baaac7ce40b06cadbc727f9af2aa9e68ff5f91a760ab5e433a13085eed73954a9f18"
    "f30da701c80fb747baeaa142a3460df9cd40198503ff6cfe9c97765e523bb3bb98bb7e92c56159a6ca16cfa8b1bda204"
    "136c449d550486b2beb667a3566a35d43b900d1b3d6d10c5cf2f174f4bd4ba25",
    16,
)
_Q = int(
    "c30843391edf6cc38972aac3671c08f5fbc0e2d3b20d5b6dfe17fa204884c9c43f7a1336c7becc78ac01f6987016b320"
    "3a832de62aea7caecdb897e2149fc477329e789ed077e28d1424442dee84ac2e8c083cfff5de8625f9cb200875dc990b"
    "f376ff0e6ab4c30da52534d986df9f0c33292086a75fa04dcfde7870b15bf267",
    16,
)
_E = 65537

TEE_ID = "0x48bd63479d13f2741ff5415f3ef1e49ce05fb805414835d14760de14f0728779"


def golden_key() -> rsa.RSAPrivateKey:
    """The private key, computed from its primes."""
    d = pow(_E, -1, (_P - 1) * (_Q - 1))
    return rsa.RSAPrivateNumbers(
        p=_P,
        q=_Q,
        d=d,
        dmp1=rsa.rsa_crt_dmp1(d, _P),
        dmq1=rsa.rsa_crt_dmq1(d, _Q),
        iqmp=rsa.rsa_crt_iqmp(_P, _Q),
        public_numbers=rsa.RSAPublicNumbers(_E, _P * _Q),
    ).private_key()
