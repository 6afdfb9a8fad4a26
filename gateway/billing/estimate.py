"""The maximum cost of a request, and the output limit that enforces it."""

from decimal import Decimal

import msgspec

from gateway.billing.payment import Order
from gateway.billing.pricing import affordable_output, worst_case
from gateway.catalog import Catalog, Model
from gateway.openai_api.errors import context_length_exceeded


class Estimate(msgspec.Struct, frozen=True):
    """The maximum cost of a request. ``output_limit`` is per choice; None is the model's own."""

    usd: Decimal
    output_limit: int | None


class Estimator:
    """Estimates by the more expensive of the requested model and those that may answer in its place."""

    def __init__(self, catalog: Catalog, max_usd: Decimal) -> None:
        self._catalog = catalog
        self._max_usd = max_usd

    def estimate(self, order: Order) -> Estimate:
        """The worst case, with output clamped to the maximum cost; raises 400 if the prompt alone exceeds it."""
        models = list(self._catalog.may_answer(order.model))
        usd = _worst_case(order, models, order.output_tokens)
        if usd <= self._max_usd:
            return Estimate(usd, order.output_tokens)
        affordable = [self._affordable(order, model) for model in models]
        limit = min(limit for limit in affordable if limit is not None)
        if limit < 1:
            raise context_length_exceeded(
                f"This request can cost up to {usd.normalize():f} USD; its prompt, images and web searches alone "
                f"exceed the limit of {self._max_usd} USD per request."
            )
        return Estimate(_worst_case(order, models, limit), limit)

    def _affordable(self, order: Order, model: Model) -> int | None:
        return affordable_output(
            model, order.prompt_tokens, self._max_usd, order.choices, order.images, order.price_terms
        )


def _worst_case(order: Order, models: list[Model], output_tokens: int | None) -> Decimal:
    return max(
        [
            worst_case(model, order.prompt_tokens, output_tokens, order.choices, order.images, order.price_terms)
            for model in models
        ]
    )
