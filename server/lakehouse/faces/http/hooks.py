"""What others post to start workflows: signed, or with a token of this server."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lakehouse.faces.http.guard import HOOKS
from lakehouse.faces.http.rest.body import pieces
from lakehouse.lake import Lakehouse
from lakehouse.preview import compact

MAX_BODY = 2**20
SIGNATURE, KEY = "x-lakehouse-signature", "idempotency-key"


class Hooks:
    """POST /v1/observer/workflow/hook/{name}."""

    def __init__(self, lake: Lakehouse) -> None:
        self._lake = lake

    def routes(self) -> list[Route]:
        """Their route."""
        return [Route(f"{HOOKS}{{name}}", self.post, methods=["POST"])]

    async def post(self, request: Request) -> Response:
        """Start the workflow of a hook, and answer 202 with its run once that is durable.

        Raises as Triggers.posted does, and TooLarge for a body over 1 MiB.
        """
        lake, headers = self._lake, request.headers
        text = b"".join([piece async for piece in pieces(request.receive, headers, MAX_BODY, "Send less at a time.")])
        await lake.start()
        key = headers.get(KEY, "")
        known = lake.config.auth.needed and "authorization" in headers  # the guard held it against the tokens
        run = await lake.posted(
            request.path_params["name"],
            text,
            headers.get(SIGNATURE, ""),
            request.scope["lakehouse.caller"] if known else None,
            key,
        )
        return Response(compact({"run_id": run}), 202, media_type="application/json")
