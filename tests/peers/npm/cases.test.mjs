// The unmodified npm package `openai` in front of a gateway with simulated vendors.
//
// GATEWAY_URL is the gateway, MODEL the model to ask. A prompt of `@sim {...}` tells the simulated vendor what to answer.

import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";

const model = process.env.MODEL;
const client = new OpenAI({ baseURL: `${process.env.GATEWAY_URL}/v1`, apiKey: "anything", maxRetries: 0 });
const hello = [{ role: "user", content: "Hello there" }];
const ENVELOPE = ["tee_signature", "tee_request_hash", "tee_output_hash", "tee_timestamp", "tee_id"];
const EVERY_SCRIPT = "Grüße 👩‍👩‍👧‍👦 עברית \u2028 \u0001 \"\\\" end";

const parameters = {
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
  additionalProperties: false,
};
const weather = { type: "function", function: { name: "weather", description: "Weather in a city", parameters } };
const CALLS = [
  { name: "weather", arguments: { city: "Tromsø" } },
  { name: "weather", arguments: { city: "Rome" } },
];

function told(scenario) {
  return [{ role: "user", content: `@sim ${JSON.stringify(scenario)}` }];
}

function create(body = {}) {
  return client.chat.completions.create({ model, messages: hello, ...body });
}

async function collect(items) {
  const collected = [];
  for await (const item of items) collected.push(item);
  return collected;
}

async function failure(promise) {
  return promise.then(
    () => assert.fail("it should have failed"),
    (error) => error,
  );
}

test("a chat", async () => {
  const completion = await create();
  const [choice] = completion.choices;
  assert.equal(choice.message.content, "You said: Hello there");
  assert.equal(choice.finish_reason, "stop");
  assert.equal(completion.model, model);
  assert.equal(completion.usage.total_tokens, completion.usage.prompt_tokens + completion.usage.completion_tokens);
  for (const field of ENVELOPE) assert.ok(completion[field], field);
});

test("every script", async () => {
  const completion = await create({ messages: told({ text: EVERY_SCRIPT, reasoning: "" }) });
  assert.equal(completion.choices[0].message.content, EVERY_SCRIPT);
});

test("a stream", async () => {
  const chunks = await collect(await create({ stream: true }));
  assert.equal(chunks.map((chunk) => chunk.choices[0].delta.content ?? "").join(""), "You said: Hello there");
  assert.equal(chunks[0].choices[0].delta.role, "assistant");
  assert.equal(new Set(chunks.map((chunk) => chunk.id)).size, 1);
  const last = chunks.at(-1);
  assert.equal(last.choices[0].finish_reason, "stop");
  assert.ok(last.usage.total_tokens > 0);
  for (const field of ENVELOPE) assert.ok(last[field], field);
  assert.ok(chunks.slice(0, -1).every((chunk) => !("usage" in chunk)));
});

test("a stream that ends in its usage", async () => {
  const chunks = await collect(await create({ stream: true, stream_options: { include_usage: true } }));
  assert.equal(chunks.at(-2).choices[0].finish_reason, "stop");
  assert.deepEqual(chunks.at(-1).choices, []);
  assert.ok(chunks.at(-1).usage.total_tokens > 0);
  assert.ok(chunks.at(-1).tee_signature);
});

test("the stream helper", async () => {
  const stream = client.chat.completions.stream({ model, messages: hello });
  let heard = "";
  stream.on("content", (delta) => (heard += delta));
  const completion = await stream.finalChatCompletion();
  assert.equal(heard, "You said: Hello there");
  assert.equal(completion.choices[0].message.content, heard);
  assert.ok((await stream.totalUsage()).total_tokens > 0);
});

test("a stream that the caller leaves", async () => {
  const stream = await create({ messages: told({ text: "word ".repeat(200), event_delay: 0.01 }), stream: true });
  for await (const chunk of stream) {
    assert.ok(chunk.choices);
    break;
  }
  assert.ok(stream.controller.signal.aborted);
});

test("tools", async () => {
  const completion = await create({ messages: told({ tool_calls: CALLS }), tools: [weather] });
  const [choice] = completion.choices;
  assert.equal(choice.finish_reason, "tool_calls");
  assert.deepEqual(
    choice.message.tool_calls.map((call) => JSON.parse(call.function.arguments)),
    CALLS.map((call) => call.arguments),
  );
  assert.equal(new Set(choice.message.tool_calls.map((call) => call.id)).size, CALLS.length);
});

test("tools in a stream", async () => {
  const stream = client.chat.completions.stream({ model, messages: told({ tool_calls: CALLS }), tools: [weather] });
  const done = [];
  stream.on("tool_calls.function.arguments.done", (event) => done.push(event));
  await stream.finalChatCompletion();
  assert.deepEqual(
    done.map((event) => [event.index, JSON.parse(event.arguments)]),
    CALLS.map((call, index) => [index, call.arguments]),
  );
});

test("a tool without arguments", async () => {
  const clock = { type: "function", function: { name: "clock" } };
  const completion = await create({ messages: told({ tool_calls: [{ name: "clock", arguments: "" }] }), tools: [clock] });
  assert.equal(completion.choices[0].message.tool_calls[0].function.arguments, "{}");
});

test("tools that the package runs itself", async () => {
  const asked = [];
  const tool = {
    type: "function",
    function: {
      name: "weather",
      description: "Weather in a city",
      parameters,
      parse: JSON.parse,
      function: ({ city }) => {
        asked.push(city);
        return `${city}: 4 C`;
      },
    },
  };
  const messages = [{ role: "user", content: "What is the weather in Oslo" }];
  for (const stream of [false, true]) {
    const runner = client.chat.completions.runTools({ model, messages, tools: [tool], stream });
    assert.equal(await runner.finalContent(), "The tools answered: Oslo: 4 C");
  }
  assert.deepEqual(asked, ["Oslo", "Oslo"]);
});

test("structured output", async () => {
  const schema = { ...parameters, properties: { city: { enum: ["Oslo"] } } };
  const response_format = { type: "json_schema", json_schema: { name: "city", strict: true, schema } };
  const parsed = await client.chat.completions.parse({ model, messages: hello, response_format });
  assert.deepEqual(parsed.choices[0].message.parsed, { city: "Oslo" });
  const stream = client.chat.completions.stream({ model, messages: hello, response_format });
  const final = await stream.finalChatCompletion();
  assert.deepEqual(final.choices[0].message.parsed, { city: "Oslo" });
});

test("headers", async () => {
  const { data, response, request_id } = await create().withResponse();
  assert.equal(response.headers.get("x-tee-signature"), data.tee_signature);
  assert.equal(response.headers.get("x-tee-timestamp"), String(data.tee_timestamp));
  assert.equal(request_id, response.headers.get("x-request-id"));
  assert.equal(data._request_id, request_id);
  const plain = await create().asResponse();
  assert.equal((await plain.json()).choices[0].finish_reason, "stop");
});

test("a legacy completion", async () => {
  const completion = await client.completions.create({ model, prompt: ["One", "Two"], max_tokens: 50 });
  assert.deepEqual(
    completion.choices.map((choice) => choice.text),
    ["You said: One", "You said: Two"],
  );
  const stream = await client.completions.create({ model, prompt: "One", max_tokens: 50, stream: true });
  const chunks = await collect(stream);
  assert.equal(chunks.map((chunk) => chunk.choices[0].text).join(""), "You said: One");
});

test("models", async () => {
  const listed = await collect(client.models.list());
  assert.ok(listed.some((entry) => entry.id === model));
  const retrieved = await client.models.retrieve(model);
  assert.equal(retrieved.id, model);
  assert.ok(Number(retrieved.pricing.input) > 0);
});

const CALLER_ERRORS = [
  [{ model: "gpt-55" }, OpenAI.NotFoundError, "model_not_found", "model"],
  [{ messages: [] }, OpenAI.BadRequestError, "empty_array", "messages"],
  [{ messages: [{ role: "user", content: 5 }] }, OpenAI.BadRequestError, "invalid_type", "messages[0].content"],
  [{ temperature: 3 }, OpenAI.BadRequestError, "decimal_above_max_value", "temperature"],
  [{ foo: 1 }, OpenAI.BadRequestError, "unknown_parameter", "foo"],
];

test("mistakes of the caller", async () => {
  for (const [body, kind, code, param] of CALLER_ERRORS) {
    const error = await failure(create(body));
    assert.ok(error instanceof kind, `${error}`);
    assert.deepEqual([error.code, error.param, error.type], [code, param, "invalid_request_error"]);
    assert.ok(error.requestID);
  }
});

const VENDOR_ERRORS = [
  ["bad_key", OpenAI.InternalServerError, 502, "upstream_auth_failed"],
  ["rate_limit", OpenAI.RateLimitError, 429, "rate_limit_exceeded"],
  ["overloaded", OpenAI.InternalServerError, 503, "upstream_overloaded"],
  ["server_error", OpenAI.InternalServerError, 502, "upstream_error"],
  ["context_length", OpenAI.BadRequestError, 400, "context_length_exceeded"],
  ["model_not_found", OpenAI.NotFoundError, 404, "model_not_found"],
];

test("errors of the vendor", async () => {
  for (const stream of [false, true]) {
    for (const [kind, type, status, code] of VENDOR_ERRORS) {
      const error = await failure(create({ messages: told({ error: kind }), stream }));
      assert.ok(error instanceof type, `${kind}: ${error}`);
      assert.deepEqual([error.status, error.code], [status, code]);
    }
  }
});

test("a stream that breaks off", async () => {
  const scenario = { text: "one two three four five six", reasoning: "", cut_after: 5 };
  const stream = await create({ messages: told(scenario), stream: true });
  let heard = "";
  const error = await failure(
    (async () => {
      for await (const chunk of stream) heard += chunk.choices[0].delta.content ?? "";
    })(),
  );
  assert.ok(error instanceof OpenAI.APIError, `${error}`);
  assert.equal(error.code, "upstream_truncated");
  assert.ok(heard.startsWith("one"));
});
