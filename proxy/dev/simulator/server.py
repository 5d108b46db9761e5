"""The simulated provider's server: routes, pace, faults, and what it served."""

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import orjson
from aiohttp import web

from proxy.dev.simulator import openai
from proxy.dev.simulator.answer import Asked, Generation, RefusedError, generate
from proxy.dev.simulator.language import message_text
from proxy.dev.simulator.openai import FLAVOURS, Event, Flavour
from proxy.dev.simulator.openai_requests import parse_chat, parse_completion
from proxy.dev.simulator.script import (
    HEADER,
    Script,
    ScriptError,
    UsageAt,
    find_script,
    parse_script,
)
from proxy.dev.simulator.stream import ConnectionDroppedError, Pace, send_events, wait_ms
from proxy.domain.clock import Clock, SystemClock

_BODY_BYTES_MAX: Final = 64 * 2**20
_SERVED_MAX: Final = 10_000
_SCRIPTS_MAX: Final = 1_000
_STOP_SECONDS: Final = 1
_MODELS: Final = ("gpt-4.1", "gpt-4.1-mini", "o4-mini", "text-embedding-3-small")

__all__ = ["Pace", "Served", "Simulator"]


@dataclass(slots=True)
class Served:
    """One request as the provider saw it; with `keep_requests`, also what was in it.

    `outcome`: open | complete | refused | broken (as scripted) | client_left.
    """

    id: str
    endpoint: str
    flavour: str
    model: str = ""
    stream: bool = False
    status: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    sent_tokens: int = 0
    outcome: str = "open"
    headers: dict[str, str] = field(default_factory=dict)
    body: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Job:
    """A parsed request on its way through one handler."""

    http: web.Request
    body: Mapping[str, Any]
    model: str
    script: Script
    flavour: Flavour
    served: Served


_Handler = Callable[[_Job], Awaitable[web.StreamResponse]]


class Simulator:
    """Deterministic for a seed: the same requests get the same words, in whatever order."""

    def __init__(
        self,
        *,
        seed: int = 0,
        pace: Pace | None = None,
        models: Iterable[str] = _MODELS,
        keep_requests: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self._seed = seed
        self._pace = pace or Pace()
        self._models = tuple(models)
        self._keep_requests = keep_requests
        self._clock = clock or SystemClock()
        self._behaviour: str | None = None
        self._uses: dict[str, int] = {}
        self._changed = asyncio.Condition()
        self.served: deque[Served] = deque(maxlen=_SERVED_MAX)

    def behave(self, script: str | None) -> None:
        """For requests that bring no script of their own. Raises ScriptError."""
        parse_script(script or "")
        self._behaviour = script
        self._uses.clear()

    async def wait_served(self, count: int) -> None:
        """Returns once so many requests have ended, in whatever way."""
        async with self._changed:
            await self._changed.wait_for(
                lambda: sum(served.outcome != "open" for served in self.served) >= count
            )

    @asynccontextmanager
    async def running(self, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
        """Yields the address, without a path: `{url}/v1`, or `{url}/{flavour}/v1`, is the base."""
        # A handler is told when its client leaves, also while it is silent.
        runner = web.AppRunner(
            self.application(),
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=_STOP_SECONDS,
        )
        await runner.setup()
        try:
            site = web.TCPSite(runner, host, port)
            await site.start()
            bound = runner.addresses[0]
            shown = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
            yield f"http://{shown}:{bound[1]}"
        finally:
            await runner.cleanup()

    def application(self) -> web.Application:
        application = web.Application(client_max_size=_BODY_BYTES_MAX)
        router = application.router
        router.add_get("/_served", self._show_served)
        for prefix in ("/v1", r"/{flavour:[a-z0-9_-]{1,40}}/v1"):
            router.add_post(f"{prefix}/chat/completions", self._answering("chat", self._chat))
            router.add_post(f"{prefix}/completions", self._answering("completions", self._complete))
            router.add_post(f"{prefix}/embeddings", self._answering("embeddings", self._embed))
            router.add_get(f"{prefix}/models", self._list_models)
            router.add_get(prefix + r"/models/{model:.+}", self._show_model)
        return application

    # ── one request ──

    def _answering(
        self, endpoint: str, handler: _Handler
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def answer(request: web.Request) -> web.StreamResponse:
            name = request.match_info.get("flavour", "openai")
            served = Served(f"{endpoint}-{secrets.token_hex(12)}", endpoint, name)
            self.served.append(served)
            try:
                response = await self._handle(request, served, handler)
            except (ConnectionResetError, asyncio.CancelledError):
                served.outcome = "client_left"
                raise
            finally:
                if served.outcome == "open":
                    served.outcome = "broken"
                async with self._changed:
                    self._changed.notify_all()
            return response

        return answer

    async def _handle(
        self, request: web.Request, served: Served, handler: _Handler
    ) -> web.StreamResponse:
        try:
            job = await self._job(request, served)
        except ScriptError as error:
            return _refuse(served, 400, openai.error_body(400, "", message=str(error)))
        except RefusedError as error:
            return _refuse(served, 400, _body_of(error))
        script = job.script
        try:
            await wait_ms(script.head_ms)
            if script.drop:
                return _drop(request, served)
            if script.status != 200:  # noqa: PLR2004 - HTTP's OK
                return self._fail(job)
            if script.body_error and not job.body.get("stream"):
                served.outcome = "broken"
                return _json(200, openai.error_body(500, job.model), served)
            return await handler(job)
        except RefusedError as error:
            return _refuse(served, 400, _body_of(error))
        except ConnectionDroppedError:
            return _drop(request, served)

    async def _job(self, request: web.Request, served: Served) -> _Job:
        body = _decode(await request.read())
        model = body.get("model")
        if not isinstance(model, str) or not model:
            raise RefusedError("you must provide a model parameter", None)
        served.stream = body.get("stream") is True
        name, text = find_script(request.headers.get(HEADER), model, _script_text(body))
        script = self._script(self._behaviour if text is None else text)
        served.model = name
        if self._keep_requests:
            served.headers = {key.lower(): value for key, value in request.headers.items()}
            served.body = body
        flavour = FLAVOURS.get(served.flavour, FLAVOURS["openai"])
        return _Job(request, body | {"model": name}, name, script, flavour, served)

    def _script(self, text: str | None) -> Script:
        """Raises ScriptError. A script with `times` wears out."""
        if text is None:
            return Script()
        script = parse_script(text)
        if script.times is not None:
            used = self._uses.get(text, 0)
            if len(self._uses) < _SCRIPTS_MAX:
                self._uses[text] = used + 1
            if used >= script.times:
                return Script()
        return script

    def _fail(self, job: _Job) -> web.Response:
        body = openai.error_body(job.script.status, job.model)
        response = _refuse(job.served, job.script.status, body)
        if job.script.retry_after is not None:
            response.headers["retry-after"] = str(job.script.retry_after)
        return response

    # ── endpoints ──

    async def _chat(self, job: _Job) -> web.StreamResponse:
        generation = self._generate(job, parse_chat(job.body), "chatcmpl")
        logprobs = job.body.get("logprobs") is True
        if job.served.stream:
            usage_at = openai.default_usage(job.script, job.flavour)
            asked = _asks_for_usage(job.body)
            events = openai.chat_events(
                generation, job.flavour, usage_at, asked=asked, logprobs=logprobs
            )
            return await self._stream(job, events)
        answer = openai.chat_answer(generation, job.flavour, logprobs=logprobs)
        return await self._whole(job, answer, generation)

    async def _complete(self, job: _Job) -> web.StreamResponse:
        generation = self._generate(job, parse_completion(job.body), "cmpl")
        if job.served.stream:
            usage_at = openai.default_usage(job.script, job.flavour)
            asked = _asks_for_usage(job.body)
            return await self._stream(
                job, openai.completion_events(generation, usage_at, asked=asked)
            )
        return await self._whole(job, openai.completion_answer(generation), generation)

    async def _embed(self, job: _Job) -> web.StreamResponse:
        answer, tokens = openai.embeddings_answer(job.body, job.model, self._seed)
        job.served.prompt_tokens = tokens
        job.served.outcome = "complete"
        return _json(200, answer, job.served)

    def _generate(self, job: _Job, asked: Asked, prefix: str) -> Generation:
        served = job.served
        served.id = f"{prefix}-{secrets.token_hex(12)}"
        now = self._clock.unix_ms() // 1000
        generation = generate(asked, job.script, seed=self._seed, answer_id=served.id, now=now)
        served.prompt_tokens = generation.prompt_tokens
        served.completion_tokens = generation.completion_tokens
        return generation

    async def _whole(
        self, job: _Job, answer: dict[str, Any], generation: Generation
    ) -> web.StreamResponse:
        """An answer at once, after the time its tokens take."""
        if job.script.usage is UsageAt.NONE:
            del answer["usage"]
        await wait_ms(self._pace.scripted(job.script).whole_ms(generation.completion_tokens))
        served = job.served
        served.sent_tokens = generation.completion_tokens
        if job.script.cut_after is not None:
            return await _half(job.http, answer, served)
        served.outcome = "complete"
        return _json(200, answer, served)

    async def _stream(self, job: _Job, events: Iterable[Event]) -> web.StreamResponse:
        served = job.served
        served.status = 200
        response = web.StreamResponse(headers=_head(served) | _STREAM_HEAD)
        await response.prepare(job.http)
        error = orjson.dumps(openai.error_body(500, job.model))
        events = iter([Event(error)]) if job.script.body_error else events
        async for tokens in send_events(
            response,
            events,
            script=job.script,
            pace=self._pace.scripted(job.script),
            comments=job.flavour.comments,
            error=error,
        ):
            served.sent_tokens += tokens
        broken = job.script.body_error or job.script.error_after is not None
        served.outcome = "broken" if broken else "complete"
        with suppress(ConnectionResetError):
            await response.write_eof()
        return response

    async def _list_models(self, request: web.Request) -> web.Response:
        del request
        created = self._clock.unix_ms() // 1000
        data = [openai.model_answer(model, created) for model in self._models]
        return web.json_response({"object": "list", "data": data})

    async def _show_model(self, request: web.Request) -> web.Response:
        model = request.match_info["model"]
        if model not in self._models:
            return web.json_response(openai.error_body(404, model), status=404)
        return web.json_response(openai.model_answer(model, self._clock.unix_ms() // 1000))

    async def _show_served(self, request: web.Request) -> web.Response:
        del request
        body = orjson.dumps({"data": [asdict(served) for served in self.served]})
        return web.Response(body=body, content_type="application/json")


_STREAM_HEAD: Final = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
}


def _head(served: Served) -> dict[str, str]:
    """Headers of a real answer, among them those that must not reach a client of ours."""
    return {
        "x-request-id": f"req_{served.id}",
        "openai-organization": "org-simulated",
        "openai-processing-ms": "12",
        "openai-version": "2020-10-01",
        "x-ratelimit-limit-requests": "10000",
        "x-ratelimit-remaining-requests": "9999",
        "set-cookie": "__cf_bm=simulated; path=/; HttpOnly",
    }


def _json(status: int, body: Mapping[str, Any], served: Served) -> web.Response:
    served.status = status
    return web.Response(
        status=status,
        body=orjson.dumps(body),
        content_type="application/json",
        headers=_head(served),
    )


def _drop(request: web.Request, served: Served) -> web.Response:
    """Closes the connection; the response is for the framework and never leaves."""
    served.outcome = "broken"
    if request.transport is not None:
        request.transport.close()
    return web.Response(status=500)


def _refuse(served: Served, status: int, body: Mapping[str, Any]) -> web.Response:
    served.outcome = "refused"
    return _json(status, body, served)


async def _half(request: web.Request, answer: dict[str, Any], served: Served) -> web.StreamResponse:
    """Half of a body whose length was promised; then the connection closes."""
    raw = orjson.dumps(answer)
    served.status = 200
    head = _head(served) | {"content-type": "application/json", "content-length": str(len(raw))}
    response = web.StreamResponse(headers=head)
    await response.prepare(request)
    await response.write(raw[: len(raw) // 2])
    raise ConnectionDroppedError


def _decode(raw: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        raise RefusedError("We could not parse the JSON body of your request.", None)
    return body


def _script_text(body: Mapping[str, Any]) -> str:
    messages = body.get("messages")
    if isinstance(messages, list):
        found = (m for m in messages if isinstance(m, dict))
        return "\n".join(message_text(m) for m in found)
    text = body.get("prompt") or body.get("input")
    return text if isinstance(text, str) else ""


def _body_of(error: RefusedError) -> dict[str, Any]:
    return openai.error_body(400, "", message=error.message, param=error.param, code=error.code)


def _asks_for_usage(body: Mapping[str, Any]) -> bool:
    options = body.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True
