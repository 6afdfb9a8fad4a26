"""What an exchange returns to its endpoint: a complete answer, and the metadata of complete and streamed ones."""

from typing import Any

import msgspec

from gateway.billing.payment import Receipt
from gateway.catalog import Model
from gateway.openai_api.deltas import UpstreamMetadata
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
    upstream: UpstreamMetadata

    def fields(self) -> dict[str, Any]:
        """The keys at the top level of a complete answer and in the last event of a stream."""
        fields: dict[str, Any] = {"usage": self.usage.as_openai(), **self.envelope.fields()}
        for name in ("service_tier", "system_fingerprint", "moderation"):
            if (value := getattr(self.upstream, name)) is not None:
                fields[name] = value
        if self.receipt.payment is not None:
            fields["payment"] = self.receipt.payment
        return fields

    def headers(self) -> dict[str, str]:
        """The headers of a complete answer."""
        return {**self.envelope.headers(), **self.receipt.headers}
