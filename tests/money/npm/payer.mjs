// @x402/fetch, unmodified, paying for the requests on standard input: one JSON line {key, url, rpcUrl, scheme, body};
// one JSON line {status, response, payment} per request, where response is the decoded PAYMENT-RESPONSE header.
import { createInterface } from "node:readline";
import { wrapFetchWithPayment, x402Client } from "@x402/fetch";
import { toClientEvmSigner } from "@x402/evm";
import { ExactEvmScheme } from "@x402/evm/exact/client";
import { UptoEvmScheme } from "@x402/evm/upto/client";
import { createPublicClient, http } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { base } from "viem/chains";

const schemes = { exact: ExactEvmScheme, upto: UptoEvmScheme };

for await (const line of createInterface({ input: process.stdin })) {
  const told = JSON.parse(line);
  const chain = createPublicClient({ chain: base, transport: http(told.rpcUrl) });
  const signer = toClientEvmSigner(privateKeyToAccount(told.key), chain);
  const client = new x402Client().register("eip155:*", new schemes[told.scheme](signer));
  const pay = wrapFetchWithPayment(fetch, client);
  const answer = await pay(told.url, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(told.body),
  });
  const header = answer.headers.get("PAYMENT-RESPONSE");
  console.log(
    JSON.stringify({
      status: answer.status,
      response: header && JSON.parse(atob(header)),
      body: await answer.text(),
    }),
  );
}
