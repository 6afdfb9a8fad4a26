"""Prices, quotes, authorizations and settlement of paid requests.

One payment, in the order of its files:

    payment           what an exchange sees of it: Order in, Payment, Bill, Receipt out
    payments          X402Payments, which composes the others; ``admit`` begins a payment
    gate              its admission, in these steps:
      x402            the PAYMENT-SIGNATURE header read
      authorization   what was signed, compared with the offer; the signer recovered
      quote           the offer made, and validated when it comes back; its amount from estimate and pricing
      journal_entry   the entry of the journal, and its state machine in journal
      claims          the nonce claimed once, within the payer's exposure (standing)
      verification    the facilitator asked, and the payer's funds on the chain
    x402_payment      settled for the cost of its answer, or released
    settlement        the facilitator asked to settle, until the outcome is known (not all refusals are: finality)
    reconciliation    that outcome compared with the chain
    receipt, refusals what the payer is told

``storage`` keeps the journal, ``evm`` reads the chain and what payers sign for it, ``orphans`` ends the payments of
workers that are gone, ``abandonment`` limits what payers leave unpaid, and ``definitions`` holds networks, tokens,
offers and limits.
"""
