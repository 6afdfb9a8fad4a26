"""All targets by name, in the order of their first batches."""

from tools.fuzz.answers import ANSWERS
from tools.fuzz.attestation import ATTESTATION_DOCUMENTS, NSM_ANSWERS
from tools.fuzz.enclave_images import ENCLAVE_IMAGES
from tools.fuzz.event_streams import EVENT_STREAMS
from tools.fuzz.headers import DATA_URIS, PAYMENT_HEADERS
from tools.fuzz.http_answers import HTTP_ANSWERS
from tools.fuzz.injections import INJECTIONS
from tools.fuzz.journal_records import JOURNAL_RECORDS
from tools.fuzz.measured_data import CATALOGUES, DEFINITIONS
from tools.fuzz.payment_peers import CHAIN_ANSWERS, FACILITATOR_ANSWERS, PRICE_ANSWERS
from tools.fuzz.requests import CHAT_REQUESTS, COMPLETION_REQUESTS, GARBAGE_REQUESTS
from tools.fuzz.signed_answers import SIGNED_ANSWERS
from tools.fuzz.target import AnyTarget
from tools.fuzz.vendors import VENDOR_ANSWERS
from tools.fuzz.verifier_files import VERIFIER_FILES

TARGETS: dict[str, AnyTarget] = {
    target.name: target
    for target in (
        HTTP_ANSWERS,
        EVENT_STREAMS,
        CHAT_REQUESTS,
        COMPLETION_REQUESTS,
        GARBAGE_REQUESTS,
        ANSWERS,
        VENDOR_ANSWERS,
        SIGNED_ANSWERS,
        PAYMENT_HEADERS,
        FACILITATOR_ANSWERS,
        CHAIN_ANSWERS,
        PRICE_ANSWERS,
        JOURNAL_RECORDS,
        DATA_URIS,
        INJECTIONS,
        ATTESTATION_DOCUMENTS,
        NSM_ANSWERS,
        ENCLAVE_IMAGES,
        VERIFIER_FILES,
        CATALOGUES,
        DEFINITIONS,
    )
}
