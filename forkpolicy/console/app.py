"""The application: each request passes the gate, its route's right is checked, its endpoint is called in a thread, and
the page that comes of it is sent as HTML, JSON or CSV.

Endpoints block (SQLite, the control socket), so a bounded number of threads runs them. What goes wrong becomes a page
with a sentence; only a bug of ours is logged with its traceback.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from contextlib import suppress
from dataclasses import replace
from functools import partial
from shlex import quote as shell_quote
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, quote

from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route as WebRoute

from forkpolicy.console.access.gate import Asked, Entered
from forkpolicy.console.access.networks import network_of
from forkpolicy.console.access.pages import address_to_sign_in
from forkpolicy.console.access.rights import Right, may
from forkpolicy.console.errors import NotAllowed, NotFound, PageError
from forkpolicy.console.headers import SecurityHeaders
from forkpolicy.console.language import language_of
from forkpolicy.console.now.pages import alarm_notices
from forkpolicy.console.page import Download, Page, Raw, Redirect, Stream, csv_of, json_of
from forkpolicy.console.rendering import Renderer
from forkpolicy.console.routes import ROUTES
from forkpolicy.console.static_files import StaticFiles
from forkpolicy.console.turns import Turns
from forkpolicy.console.visit import Visit
from forkpolicy.errors import ForkpolicyError
from forkpolicy.gateway.settings import DEFAULT_PATH as GATEWAY_PATH
from forkpolicy.settings import DEFAULT_PATH
from forkpolicy.translations import DEFAULT, LANGUAGES, translate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from forkpolicy.console.access.gate import Gate
    from forkpolicy.console.parts import Parts
    from forkpolicy.console.routes import Route

MAX_BODY_BYTES: Final = 4 << 20  # a rule file of 1 MiB, whose bytes a form may write as three characters each
MAX_STRANGERS_BYTES: Final = 16 << 10
MAX_FIELDS: Final = 1000
DOWNLOAD_S: Final = 900.0
_IN_ADDRESS: Final = "/%#?=@[]!$&'()*+,;:"  # what stands for itself; other characters are escaped
_KEPT: Final = "public, max-age=31536000, immutable"
_log: Final = logging.getLogger("forkpolicy.console")


def application(parts: Parts, gate: Gate, routes: Sequence[Route] = ROUTES) -> Starlette:
    """The application of these parts behind that gate."""
    static = StaticFiles()
    pages = _Pages(parts, gate, routes, Renderer(static))

    async def send_static(request: Request) -> Response:
        found = static.find(request.path_params["digest"], request.path_params["name"])
        if found is None:
            return Response("There is no such file.", 404, media_type="text/plain")
        return Response(found.body, media_type=found.kind, headers={"Cache-Control": _KEPT})

    return Starlette(
        routes=[
            WebRoute("/static/{digest}/{name}", send_static, methods=["GET"]),
            *(WebRoute(each.path, partial(pages.answer, each), methods=_methods(each)) for each in routes),
        ],
        middleware=[Middleware(SecurityHeaders)],
        exception_handlers={404: pages.unknown, 405: pages.wrong_method},
    )


def _methods(route: Route) -> list[str]:
    return [name for name, endpoint in (("GET", route.get), ("POST", route.post)) if endpoint]


class _Pages:
    """The way of a request from the gate to its answer."""

    def __init__(self, parts: Parts, gate: Gate, routes: Sequence[Route], renderer: Renderer) -> None:
        self._parts = parts
        self._gate = gate
        self._routes = routes
        self._renderer = renderer
        self._turns = Turns()

    async def answer(self, route: Route, request: Request) -> Response:
        """The page of a route, or why it is not shown."""
        most_bytes = await run_sync(self._most_bytes, route, request) if request.method == "POST" else 0
        form = await _form(request, most_bytes) if most_bytes else {}
        if form is None:
            return Response(f"The form is larger than {most_bytes} bytes.", 413, media_type="text/plain")
        entered = await run_sync(self._entered, request, form)
        if isinstance(entered, Response):
            return entered
        async with self._turns.of(_visitor(entered)):
            return await run_sync(self._answer, route, request, entered)

    async def unknown(self, request: Request, _error: Exception) -> Response:
        """An address that no route has."""
        return await run_sync(self._refused, request, NotFound("There is no such page."))

    async def wrong_method(self, request: Request, _error: Exception) -> Response:
        """An action by GET, or the like."""
        error = NotAllowed("This address does something, so it is reached by the button of a page only.")
        error.status = 405
        return await run_sync(self._refused, request, error)

    def _most_bytes(self, route: Route, request: Request) -> int:
        """How large a form may be: those of strangers, who may send many at once, have a name and a password."""
        try:
            account = self._gate.enter(replace(_asked(request, {}), method="GET")).account
        except (PageError, ForkpolicyError, sqlite3.Error):
            account = None
        return MAX_BODY_BYTES if account and may(account.role, route.act or route.right) else MAX_STRANGERS_BYTES

    def _refused(self, request: Request, error: PageError) -> Response:
        try:
            entered = self._gate.enter(_asked(request, {}))
        except PageError as wrong:
            entered, error = Entered(""), wrong
        except (ForkpolicyError, sqlite3.Error, OSError):
            entered = Entered("")
        return self._send(self._visit(request, {}, entered), _error_page(error), request)

    def _entered(self, request: Request, form: Mapping[str, str]) -> Visit | Response:
        """The visit, or why there is none."""
        try:
            return self._visit(request, form, self._gate.enter(_asked(request, form)))
        except Exception as error:  # noqa: BLE001 - a bug of ours must not end in a bare answer
            return self._failed(error, "of the gate", self._visit(request, form, Entered("")), request)

    def _answer(self, route: Route, request: Request, visit: Visit) -> Response:
        try:
            return self._of_endpoint(route, request, visit)
        except Exception as error:  # noqa: BLE001 - a bug of ours must not end in a bare answer
            return self._failed(error, route.path, visit, request)

    def _failed(self, error: Exception, where: str, visit: Visit, request: Request) -> Response:
        """A page with a sentence for what was raised; what is a bug of ours goes into the log."""
        if isinstance(error, PageError):
            return self._send(visit, _error_page(error), request)
        if isinstance(error, ForkpolicyError | sqlite3.Error | OSError):
            # Where a page is nothing without the part that is away.
            return self._send(
                visit, Page("error", visit.say("Not known now"), visit.reason(error), status=503), request
            )
        _log.error("a bug in the page %s", where, exc_info=error)
        text = "The console has a bug. Its log has what is needed to mend it; mail is decided as before."
        return self._send(visit, Page("error", "A bug", text, status=500), request)

    def _of_endpoint(self, route: Route, request: Request, visit: Visit) -> Response:
        """What the endpoint returns to those who have the right. Raises what it raises."""
        is_action = request.method == "POST"
        role = visit.signed_in.role if visit.signed_in else None
        if not may(role, route.act if is_action and route.act else route.right):
            if role is None:
                return self._to_sign_in(request, visit)
            raise NotAllowed(f"Your role, {role}, may not do this.")
        endpoint = route.post if is_action else route.get
        assert endpoint
        return self._send(visit, endpoint(visit), request)

    def _visit(self, request: Request, form: Mapping[str, str], entered: Entered) -> Visit:
        return Visit(
            parts=self._parts,
            nav=self._nav(entered),
            path=request.path_params,
            query=dict(request.query_params),
            form=form,
            headers=request.headers,
            client=entered.client,
            now_s=time.time(),
            signed_in=entered.account,
            session=entered.session,
            token=entered.token,
            wants_json="application/json" in request.headers.get("accept", ""),
            language=language_of(request.cookies, request.headers),
            render=self._renderer.html,
        )

    def _nav(self, entered: Entered) -> list[Route]:
        if not entered.account:
            return []
        has_gateway = self._parts.gateway.is_on
        listed = [each for each in self._routes if each.nav and (has_gateway or not each.is_of_gateway)]
        return [each for each in listed if may(entered.account.role, each.right)]

    def _to_sign_in(self, request: Request, visit: Visit) -> Response:
        if visit.wants_json or request.method == "POST":
            return self._send(visit, Page("error", "Sign in", "Sign in first.", status=401), request)
        address = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(address_to_sign_in(address), 303)

    def _send(self, visit: Visit, result: Page | Raw | Download | Redirect | Stream, request: Request) -> Response:
        if isinstance(result, Redirect):
            response = Response(status_code=303, headers={"Location": quote(result.to, safe=_IN_ADDRESS)})
            for cookie in result.cookies:
                response.headers.append("Set-Cookie", cookie)
            return response
        if isinstance(result, Raw):
            return Response(result.body, headers=dict(result.headers), media_type=result.kind)
        if isinstance(result, Download):
            headers = {**result.headers, "Content-Length": str(result.size_bytes)}
            return _SendingInTime(self._in_turns(visit, result.pieces), headers=headers, media_type=result.kind)
        if isinstance(result, Stream):
            return StreamingResponse(result.events, media_type="text/event-stream")
        result = replace(result, command=self._command(result.command))
        may_see = bool(visit.signed_in) and may(visit.account.role, Right.SEE_SERVER)
        notices = [*(alarm_notices(visit) if may_see else ()), *visit.notices, *result.notices]
        if visit.wants_json:
            return Response(
                json_of(
                    {
                        "title": result.title,
                        "sentence": result.sentence,
                        "notices": notices,
                        "command": result.command,
                        **result.data,
                    }
                ),
                result.status,
                media_type="application/json",
            )
        if result.rows and visit.query.get("format") == "csv":
            name = f"{result.template.rpartition('/')[2]}.csv"
            headers = {"Content-Disposition": f'attachment; filename="{name}"'}
            lines = self._in_turns(visit, csv_of(result.rows))
            return StreamingResponse(lines, media_type="text/csv; charset=utf-8", headers=headers)
        language = visit.language if result.is_translated else DEFAULT
        context = {
            "page": result,
            "data": result.data,
            "notices": notices,
            "visit": visit,
            "nav": visit.nav,
            "address": str(request.url.path),
            "full_address": f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path,
            "theme": request.cookies.get("theme", ""),
            "now_s": visit.now_s,
            "language": language,
            "languages": LANGUAGES,
            "say": partial(translate, language),
        }
        html = self._renderer.html(result.template, context)
        return Response(html, result.status, media_type="text/html")

    async def _in_turns(self, visit: Visit, pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
        """Each piece is made in a thread, whose turn it is; while it is sent others have theirs."""
        made = iter(pieces)
        while True:
            async with self._turns.of(_visitor(visit)):
                piece = await run_sync(next, made, None)
            if piece is None:
                return
            yield piece

    def _command(self, command: str) -> str:
        """The equal command of a page with the settings of this console, where those are not the usual ones."""
        if not command.startswith("forkpolicy"):
            return command
        path, usual = self._parts.settings.path, DEFAULT_PATH
        if command.startswith(("forkpolicy held ", "forkpolicy gateway ")):
            path, usual = self._parts.settings.console.gateway, GATEWAY_PATH
        return f"{command} -c {shell_quote(path)}" if path not in ("", usual) else command


class _SendingInTime(StreamingResponse):
    """A download, which a browser that reads too slowly does not get to its end."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(DOWNLOAD_S):
                await super().__call__(scope, receive, send)


def _visitor(visit: Visit) -> str:
    """Whose turn it is."""
    return visit.signed_in.name if visit.signed_in else f"from {network_of(visit.client)}"


def _error_page(error: PageError) -> Page:
    titles = {401: "Sign in", 403: "Not allowed", 404: "Not found", 405: "Not allowed", 422: "Not usable", 429: "Later"}
    return Page("error", titles.get(error.status, "Not possible"), str(error), status=error.status)


def _asked(request: Request, form: Mapping[str, str]) -> Asked:
    peer = request.client.host if request.client else "unix"
    headers = {name: ", ".join(request.headers.getlist(name)) for name in set(request.headers)}
    return Asked(request.method, request.url.path, headers, request.cookies, form, peer)


async def _form(request: Request, most_bytes: int) -> dict[str, str] | None:
    """The fields of a form, the last of equal names; None where it is too large. A body of another type has none."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most_bytes:
            return None
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        return {}
    try:
        fields = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        return None
    return dict(fields)
