"""What an exchange returns to its endpoint: a complete answer, and the metadata of complete and streamed ones."""

from typing import Any

import msgspec

from gateway.billing.payment import Receipt
from gateway.catalog import Model
from gateway.openai_api.deltas import Served
from gateway.openai_api.usage import Usage
from gateway.signing import Envelope


class Answer(msgspec.Struct):
    """A complete answer: its JSON body and headers."""

    body: bytes
    headers: dict[str, str]


class AnswerMetadata(msgspec.Struct, frozen=True):
    """What accompanies an answer: the model that gave it, usage, signature, payment, and the upstream's own fields."""

    model: Model
    usage: Usage
    envelope: Envelope
    receipt: Receipt
    served: Served

    def fields(self) -> dict[str, Any]:
        """The keys at the top level of a complete answer and in the last event of a stream."""
        fields: dict[str, Any] = {"usage": self.usage.as_openai(), **self.envelope.fields()}
        if self.served.service_tier is not None:
            fields["service_tier"] = self.served.service_tier
        if self.served.system_fingerprint is not None:
            fields["system_fingerprint"] = self.served.system_fingerprint
        if self.served.moderation is not None:
            fields["moderation"] = self.served.moderation
        if self.receipt.payment is not None:
            fields["payment"] = self.receipt.payment
        return fields

    def headers(self) -> dict[str, str]:
        """The headers of a complete answer."""
        return {**self.envelope.headers(), **self.receipt.headers}
