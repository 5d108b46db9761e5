// What fails, and the class by which an application tells why.
import assert from "node:assert/strict";

import OpenAI from "openai";

import { HELLO, connect, simulate, textOf } from "./client.mjs";

const {
  APIError,
  APIUserAbortError,
  AuthenticationError,
  BadRequestError,
  InternalServerError,
  NotFoundError,
  PermissionDeniedError,
  RateLimitError,
} = OpenAI;

async function failureOf(promise) {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  assert.fail("the request succeeded");
}

function ask(world, options = {}, body = {}, extra = {}) {
  const request = { model: world.chat, messages: HELLO, ...body };
  return connect(world, options).chat.completions.create(request, extra);
}

function assertError(error, kind, { status, code }) {
  assert.ok(error instanceof kind, `${error}`);
  assert.equal(error.status, status);
  assert.equal(error.code, code);
  assert.ok(error.requestID);
  assert.ok(error.message.length > status.toString().length);
}

// The stream fails in the middle: what came before has been seen, and the failure has a class.
async function cutStream(world, script) {
  const chunks = [];
  const stream = await ask(world, {}, { model: world.cutting, messages: simulate(script), stream: true });
  const error = await failureOf(
    (async () => {
      for await (const chunk of stream) chunks.push(chunk);
    })(),
  );
  assert.ok(error instanceof APIError, `${error}`);
  assert.ok(!(error instanceof APIUserAbortError));
  return { error, text: textOf(chunks) };
}

export const errors = {
  async key_unknown(world) {
    const error = await failureOf(ask(world, { key: "unknown" }));
    assertError(error, AuthenticationError, { status: 401, code: "invalid_api_key" });
  },

  async key_mistyped(world) {
    const error = await failureOf(ask(world, { key: "mistyped" }));
    assertError(error, AuthenticationError, { status: 401, code: "invalid_api_key" });
    assert.match(error.message, /mistyped/);
  },

  async key_revoked(world) {
    const error = await failureOf(ask(world, { key: "revoked" }));
    assertError(error, AuthenticationError, { status: 401, code: "invalid_api_key" });
  },

  async balance_exhausted(world) {
    const error = await failureOf(ask(world, { key: "poor" }));
    assertError(error, APIError, { status: 402, code: "insufficient_balance" });
    assert.equal(error.type, "insufficient_quota");
  },

  async rate_limited(world) {
    const options = { key: "limited", maxRetries: 0 };
    await ask(world, options);
    const error = await failureOf(ask(world, options));
    assertError(error, RateLimitError, { status: 429, code: "rate_limited" });
    const seconds = Number(error.headers.get("retry-after"));
    assert.ok(seconds >= 1 && seconds <= 60);
  },

  async model_unknown(world) {
    const error = await failureOf(ask(world, {}, { model: `${world.chat}x` }));
    assertError(error, NotFoundError, { status: 404, code: "model_not_found" });
    assert.equal(error.param, "model");
    assert.ok(error.message.includes(world.chat));
  },

  async parameter_wrong(world) {
    const error = await failureOf(ask(world, {}, { max_tokens: -1 }));
    assertError(error, BadRequestError, { status: 400, code: "invalid_request" });
    assert.equal(error.param, "max_tokens");
  },

  async jurisdiction_denied(world) {
    const headers = { "X-ApiLink-Jurisdictions": "FR" };
    const error = await failureOf(ask(world, {}, {}, { headers }));
    assertError(error, PermissionDeniedError, { status: 403, code: "jurisdiction_not_allowed" });
  },

  async upstream_fails(world) {
    const body = { model: world.failing, messages: simulate("status=500") };
    const error = await failureOf(ask(world, { key: "failing" }, body));
    assertError(error, InternalServerError, { status: 502, code: "upstream_error" });
  },

  async upstream_busy_then_serves(world) {
    const body = { model: world.busy, messages: simulate("status=503; retry-after=1; times=1") };
    const answer = await ask(world, { key: "patient" }, body);
    assert.match(answer.choices[0].message.content, /^Hello! /);
  },

  async stream_with_an_error_in_it(world) {
    const { error, text } = await cutStream(world, "error-after=3");
    assert.equal(error.type, "server_error");
    assert.match(error.message, /had an error while processing/);
    assert.match(text, /^Hello/);
  },

  async stream_cut(world) {
    const { error, text } = await cutStream(world, "cut-after=3");
    assert.equal(error.code, "upstream_error");
    assert.match(text, /^Hello/);
  },
};
