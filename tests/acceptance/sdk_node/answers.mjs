// What works: every kind of answer, as the SDK gives it to an application.
import assert from "node:assert/strict";

import { HELLO, collect, connect, simulate, textOf } from "./client.mjs";

const WEATHER = {
  type: "object",
  properties: { city: { type: "string" }, days: { type: "integer", minimum: 1, maximum: 9 } },
  required: ["city", "days"],
  additionalProperties: false,
};
const TOOLS = [{ type: "function", function: { name: "get_weather", parameters: WEATHER } }];
const ASK_WEATHER = [{ role: "user", content: "Use the tool: what is the weather in Lisbon?" }];
const FORMAT = { type: "json_schema", json_schema: { name: "weather", strict: true, schema: WEATHER } };
const PNG = "data:image/png;base64,iVBORw0KGgo=";
const UUID7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

function assertCost(world, usage) {
  const { input_nanos, output_nanos } = world;
  const nanos = usage.prompt_tokens * input_nanos + (usage.completion_tokens ?? 0) * output_nanos;
  assert.ok(nanos > 0);
  assert.equal(usage.cost_nanos, nanos);
  assert.equal(usage.cost, nanos / 1e9);
}

function assertWeather(value) {
  assert.deepEqual(Object.keys(value), ["city", "days"]);
  assert.equal(value.city, "Lisbon");
  assert.ok(value.days >= 1 && value.days <= 9);
}

export const answers = {
  async chat(world) {
    const client = connect(world);
    const answer = await client.chat.completions.create({ model: world.chat, messages: HELLO });
    assert.equal(answer.object, "chat.completion");
    assert.equal(answer.choices.length, 1);
    assert.match(answer.choices[0].message.content, /^Hello! /);
    assert.equal(answer.choices[0].finish_reason, "stop");
    assert.match(answer._request_id, UUID7);
    assertCost(world, answer.usage);
  },

  async chat_stream_without_usage(world) {
    const client = connect(world);
    const request = { model: world.chat, messages: HELLO };
    const whole = await client.chat.completions.create(request);
    const chunks = await collect(await client.chat.completions.create({ ...request, stream: true }));
    for (const chunk of chunks) {
      assert.ok(chunk.choices[0].delta);
      assert.ok(!("usage" in chunk));
    }
    assert.equal(textOf(chunks), whole.choices[0].message.content);
    assert.equal(chunks.at(-1).choices[0].finish_reason, "stop");
  },

  async chat_stream_with_usage(world) {
    const stream = await connect(world).chat.completions.create({
      model: world.chat,
      messages: HELLO,
      stream: true,
      stream_options: { include_usage: true },
    });
    const chunks = await collect(stream);
    const last = chunks.pop();
    assert.deepEqual(last.choices, []);
    assertCost(world, last.usage);
    for (const chunk of chunks) assert.equal(chunk.usage ?? null, null);
  },

  async chat_stream_aborted(world) {
    const stream = await connect(world).chat.completions.create({
      model: world.chat,
      messages: simulate("tokens=4; first-token-ms=0; tokens-per-second=20"),
      stream: true,
    });
    for await (const chunk of stream) {
      assert.ok(chunk.choices[0].delta);
      break;
    }
    assert.ok(stream.controller.signal.aborted);
  },

  async chat_stream_helper(world) {
    const runner = connect(world).chat.completions.stream({ model: world.chat, messages: HELLO });
    let text = "";
    runner.on("content", (delta) => (text += delta));
    const final = await runner.finalChatCompletion();
    assert.equal(final.choices[0].message.content, text);
    assert.match(text, /^Hello! /);
  },

  async tools(world) {
    const answer = await connect(world).chat.completions.create({
      model: world.chat,
      messages: ASK_WEATHER,
      tools: TOOLS,
    });
    const choice = answer.choices[0];
    assert.equal(choice.finish_reason, "tool_calls");
    assert.equal(choice.message.content, null);
    const [call] = choice.message.tool_calls;
    assert.equal(call.function.name, "get_weather");
    assertWeather(JSON.parse(call.function.arguments));
  },

  async tools_streamed(world) {
    const runner = connect(world).chat.completions.stream({
      model: world.chat,
      messages: ASK_WEATHER,
      tools: TOOLS,
      tool_choice: "required",
    });
    const final = await runner.finalChatCompletion();
    const [call] = final.choices[0].message.tool_calls;
    assert.match(call.id, /^call_/);
    assert.equal(call.function.name, "get_weather");
    assertWeather(JSON.parse(call.function.arguments));
  },

  async tools_run_to_the_end(world) {
    const seen = [];
    const parse = (text) => (seen.push(JSON.parse(text)), seen.at(-1));
    const runner = connect(world).chat.completions.runTools({
      model: world.chat,
      messages: ASK_WEATHER,
      tools: [
        {
          type: "function",
          function: { ...TOOLS[0].function, parse, function: ({ city }) => `sunny in ${city}` },
        },
      ],
    });
    const text = await runner.finalContent();
    assertWeather(seen[0]);
    assert.match(text, /^The tool answered: sunny in Lisbon\./);
  },

  async json_schema(world) {
    const answer = await connect(world).chat.completions.create({
      model: world.chat,
      messages: HELLO,
      response_format: FORMAT,
    });
    assertWeather(JSON.parse(answer.choices[0].message.content));
  },

  async json_schema_parsed(world) {
    const answer = await connect(world).chat.completions.parse({
      model: world.chat,
      messages: HELLO,
      response_format: FORMAT,
    });
    assert.deepEqual(answer.choices[0].message.refusal, null);
    assertWeather(JSON.parse(answer.choices[0].message.content));
  },

  async images(world) {
    const content = [
      { type: "text", text: "What are these?" },
      { type: "image_url", image_url: { url: PNG } },
      { type: "image_url", image_url: { url: "https://images.example/node.png", detail: "low" } },
    ];
    const answer = await connect(world).chat.completions.create({
      model: world.chat,
      messages: [{ role: "user", content }],
    });
    assert.ok(answer.usage.prompt_tokens > 2 * 255);
  },

  async choices(world) {
    const answer = await connect(world).chat.completions.create({
      model: world.chat,
      messages: HELLO,
      n: 3,
    });
    assert.deepEqual(
      answer.choices.map((choice) => choice.index),
      [0, 1, 2],
    );
    assertCost(world, answer.usage);
  },

  async logprobs(world) {
    const request = { model: world.chat, messages: HELLO, logprobs: true, max_tokens: 4 };
    const client = connect(world);
    const whole = await client.chat.completions.create(request);
    const expected = whole.choices[0].logprobs.content;
    assert.equal(expected.length, 4);
    assert.ok(expected.every((token) => token.logprob < 0));
    const chunks = await collect(await client.chat.completions.create({ ...request, stream: true }));
    const streamed = chunks.flatMap((chunk) => chunk.choices[0].logprobs?.content ?? []);
    assert.deepEqual(streamed, expected);
  },

  async stop(world) {
    const answer = await connect(world).chat.completions.create({
      model: world.chat,
      messages: HELLO,
      stop: ["standing"],
    });
    assert.equal(answer.choices[0].message.content, "Hello! This is the simulated provider, ");
    assert.equal(answer.choices[0].finish_reason, "stop");
  },

  async max_tokens(world) {
    for (const name of ["max_tokens", "max_completion_tokens"]) {
      const answer = await connect(world).chat.completions.create({
        model: world.chat,
        messages: HELLO,
        [name]: 5,
      });
      assert.equal(answer.choices[0].finish_reason, "length");
      assert.equal(answer.usage.completion_tokens, 5);
    }
  },

  async completions(world) {
    const request = { model: world.chat, prompt: "Once upon a time", max_tokens: 8 };
    const client = connect(world);
    const whole = await client.completions.create(request);
    assert.equal(whole.object, "text_completion");
    assertCost(world, whole.usage);
    const chunks = await collect(await client.completions.create({ ...request, stream: true }));
    assert.equal(chunks.map((chunk) => chunk.choices[0].text).join(""), whole.choices[0].text);
    assert.ok(chunks.every((chunk) => !("usage" in chunk)));
    assert.equal(chunks.at(-1).choices[0].finish_reason, "length");
  },

  async embeddings(world) {
    const client = connect(world);
    const request = { model: world.embed, input: ["one", "two"], dimensions: 64 };
    const usual = await client.embeddings.create(request);
    const plain = await client.embeddings.create({ ...request, encoding_format: "float" });
    assert.equal(usual.data.length, 2);
    usual.data.forEach(({ embedding }, index) => {
      assert.equal(embedding.length, 64);
      const length = Math.sqrt(embedding.reduce((sum, value) => sum + value * value, 0));
      assert.ok(Math.abs(length - 1) < 1e-6);
      const single = Array.from(Float32Array.from(plain.data[index].embedding));
      assert.deepEqual(Array.from(embedding), single);
    });
    assertCost(world, usual.usage);
  },

  async models(world) {
    const client = connect(world);
    const ids = (await collect(client.models.list())).map((model) => model.id);
    assert.ok(ids.includes(world.chat) && ids.includes(world.embed));
    const model = await client.models.retrieve(world.chat);
    assert.equal(model.id, world.chat);
    assert.equal(model.object, "model");
    assert.equal(model.pricing.prompt, "0.000001");
    assert.equal(model.routes[0].provider, "alpha");
  },

  async headers(world) {
    const { data, response, request_id } = await connect(world)
      .chat.completions.create({ model: world.chat, messages: HELLO })
      .withResponse();
    const { headers } = response;
    assert.match(request_id, UUID7);
    assert.equal(headers.get("x-request-id"), request_id);
    assert.equal(headers.get("x-apilink-model"), world.chat);
    assert.equal(headers.get("x-apilink-provider"), "alpha");
    assert.equal(headers.get("x-apilink-jurisdictions"), "US");
    assert.equal(headers.get("x-apilink-attempts"), "1");
    assert.equal(headers.get("x-apilink-cost-nanos"), String(data.usage.cost_nanos));
    assert.ok(headers.get("x-apilink-routing-revision"));
    for (const name of ["x-apilink-aggregator", "openai-organization", "set-cookie"])
      assert.equal(headers.get(name), null);
  },
};
