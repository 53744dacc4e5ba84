"""/openapi.json: the routes as an OpenAPI 3.1 document, made of what the catalogue declares."""

from collections.abc import Mapping, Sequence
from typing import Any

import lakehouse
from lakehouse.config import Config
from lakehouse.faces.http.rest.form import FILE
from lakehouse.faces.http.rest.paths import Template
from lakehouse.preview import compact

Json = dict[str, Any]
ABOUT = """\
Each capability has a route of its own, and `POST /v1/call/{capability}` reaches all of them by name. Arguments come \
from the path, the query and a JSON body; the same one twice with different values is refused, as is one that is not \
known. A list in a query is a repeated name, or JSON. Of a name that a JSON object has twice the last value holds.

An error is `application/problem+json`: `detail` says what happened, `fix` what to do next. An answer over 16 MiB is a \
preview with `truncated: true` and a `handle` to read on from. A `POST` with `Accept: text/event-stream` answers \
`progress` events as it goes and then one `result` or `problem` event; a client that closes the connection cancels its \
call."""
BINARY: Json = {"contentMediaType": "application/octet-stream"}
PROBLEM: Json = {
    "type": "object",
    "description": "What went wrong (RFC 9457).",
    "properties": {
        "type": {"type": "string", "description": "lakehouse: and the code."},
        "title": {"type": "string", "description": "The code: invalid_request, not_found and so on."},
        "status": {"type": "integer", "description": "The HTTP status."},
        "detail": {"type": "string", "description": "What happened."},
        "fix": {"type": "string", "description": "What to do next."},
        "data": {"type": "object", "description": "Particulars, such as the bad rows of a file."},
        "retry_after": {"type": "integer", "description": "Seconds to wait, as in the Retry-After header."},
    },
    "required": ["type", "title", "status", "detail"],
}
ERRORS: Json = {code: {"$ref": "#/components/responses/Problem"} for code in ("4XX", "5XX")}


def document(specs: Sequence[Mapping[str, Any]], groups: Mapping[str, str], config: Config) -> bytes:
    """The document for capabilities that have a route; `groups` says what each first word of their names is about."""
    paths: dict[str, Json] = {}
    shapes: dict[str, Template] = {}
    for spec in specs:
        template = Template(spec["route"])
        shown = shapes.setdefault(template.shape, template)
        place, made = paths.setdefault(shown.plain, {}), _operation(spec, template, shown)
        beside = place.get(spec["method"].lower())
        place[spec["method"].lower()] = made if beside is None else _both(beside, made)
    used = dict.fromkeys(spec["name"].partition(".")[0] for spec in specs)
    tags = [{"name": name, "description": groups.get(name, "")} for name in used]
    said: Json = {
        "openapi": "3.1.0",
        "info": {"title": "Lakehouse", "version": lakehouse.__version__, "description": ABOUT},
        "servers": [{"url": "/"}],
        "tags": [*tags, {"name": "server", "description": "The server itself."}],
        "paths": {**paths, **_own()},
        "components": {
            "schemas": {"Problem": PROBLEM},
            "responses": {
                "Problem": {
                    "description": "It failed; the body says why and what to do next.",
                    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
                }
            },
        },
    }
    if config.auth.needed:
        said["components"]["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
        said["security"] = [{"bearer": []}]
        said["paths"]["/health"]["get"]["security"] = []
    return compact(said)


def _operation(spec: Mapping[str, Any], template: Template, shown: Template) -> Json:
    properties: Json = dict(spec["input_schema"]["properties"])
    required = set(spec["input_schema"].get("required", ()))
    parameters = [
        {"name": name, "in": "path", "required": True, **_described(properties.pop(own, {"type": "string"}))}
        for own, name in zip(template.names, shown.names, strict=True)
    ]
    required -= set(template.names)
    download, upload = "output_schema" not in spec, spec.get("upload", False)
    operation: Json = {
        "operationId": spec.get("mcp_name") or spec["name"].replace(".", "_"),
        "summary": spec["title"],
        "description": spec["description"],
        "tags": [spec["name"].partition(".")[0]],
    }
    posts = spec["method"] not in ("GET", "DELETE", "PUT")
    if not posts or upload:
        parameters += [_query(n, s, n in required and not posts) for n, s in properties.items()]
    if posts or upload:
        operation["requestBody"] = _request(spec, properties, required, raw=not posts)
    if parameters:
        operation["parameters"] = parameters
    answers = _file(spec["formats"]) if download else _result(spec, posts)
    operation["responses"] = {**answers, **ERRORS}
    return operation


def _query(name: str, schema: Json, required: bool) -> Json:
    if schema.get("type") in ("object", None):
        plain = {k: v for k, v in schema.items() if k != "description"}
        said: Json = {"content": {"application/json": {"schema": plain}}}
        if "description" in schema:
            said["description"] = schema["description"]
    else:
        said = _described(schema)
    return {"name": name, "in": "query", "required": required, **said}


def _described(schema: Json) -> Json:
    rest = {k: v for k, v in schema.items() if k != "description"}
    return {"schema": rest} | ({"description": schema["description"]} if "description" in schema else {})


def _request(spec: Mapping[str, Any], properties: Json, required: set[str], *, raw: bool) -> Json:
    if raw:
        return {"required": True, "description": "The contents.", "content": {"application/octet-stream": {}}}
    schema: Json = {"type": "object", "properties": properties, "additionalProperties": False}
    if required:
        schema["required"] = sorted(required)
    content: Json = {"application/json": {"schema": schema}}
    if spec.get("upload"):
        form = {**properties, FILE: {**BINARY, "description": "The file."}}
        content["multipart/form-data"] = {"schema": {"type": "object", "properties": form, "required": [FILE]}}
    said = f"JSON of at most {spec['max_body']} bytes."
    return {"required": bool(required), "description": said, "content": content}


def _result(spec: Mapping[str, Any], posts: bool) -> Json:
    if spec["status"] == 204:
        return {"204": {"description": "Done."}}
    content: Json = {"application/json": {"schema": spec["output_schema"]}}
    if posts:
        content["text/event-stream"] = {"schema": {"type": "string"}}
    return {str(spec["status"]): {"description": "The result.", "content": content}}


def _both(tool: Json, download: Json) -> Json:
    """One operation that answers as the tool does, or with a file where the request names a format."""
    there = {parameter["name"] for parameter in tool["parameters"]}
    more = [parameter for parameter in download["parameters"] if parameter["name"] not in there]
    answers: Json = {**download["responses"], **tool["responses"]}
    content = {**download["responses"]["200"]["content"], **tool["responses"]["200"]["content"]}
    answers["200"] = {"description": "The result, or the file in the chosen format.", "content": content}
    said = f"{tool['description']}\n\nWith `format`, or an Accept header: {download['description']}"
    return {**tool, "description": said, "parameters": [*tool["parameters"], *more], "responses": answers}


def _file(formats: Mapping[str, str]) -> Json:
    kinds = formats or {"application/octet-stream": ""}
    whole = {kind: {"schema": {**BINARY, "contentMediaType": kind}} for kind in kinds}
    return {
        "200": {"description": "The contents, with their tag as ETag.", "content": whole},
        "206": {"description": "The range that was asked for.", "content": whole},
        "304": {"description": "They are what If-None-Match names."},
    }


def _own() -> Json:
    """The routes that are no capability's."""
    anything: Json = {"application/json": {"schema": {"type": "object"}}}
    status: Json = {"application/json": {"schema": {"type": "object", "required": ["status"]}}}
    name = {"name": "capability", "in": "path", "required": True, "schema": {"type": "string"}}

    def get(about: str, what: str, content: Json) -> Json:
        answer = {"description": what, "content": content}
        return {"operationId": about.lower(), "summary": about, "tags": ["server"], "responses": {"200": answer}}

    ready = get("Ready", "Everything that is needed can be used.", status)
    ready["responses"]["503"] = {"description": "Something cannot be used now.", "content": status}
    return {
        "/v1/call/{capability}": {
            "post": {
                "operationId": "call",
                "summary": "Call any capability",
                "description": "By its dotted name (sql.query) or its tool name (query_sql).",
                "tags": ["server"],
                "parameters": [{**name, "description": "Its name."}],
                "requestBody": {"description": "Its arguments.", "content": anything},
                "responses": {"200": {"description": "Its result.", "content": anything}, **ERRORS},
            }
        },
        "/v1/observer/workflow/hook/{name}": {
            "post": {
                "operationId": "hook",
                "summary": "Start a workflow by its webhook trigger",
                "description": "Signed, `X-Lakehouse-Signature: t=<seconds since 1970>,v1=<hex HMAC-SHA256 of t, a dot "
                "and the body>`, or with a bearer token; then `Idempotency-Key` makes it once.",
                "tags": ["server"],
                "parameters": [{**name, "name": "name", "description": "The hook's."}],
                "requestBody": {"description": "What `$ARGUMENTS` stands for.", "content": anything},
                "responses": {"202": {"description": "`run_id` has begun.", "content": anything}, **ERRORS},
            }
        },
        "/health": {"get": get("Health", "The server is up.", status)},
        "/ready": {"get": ready},
        "/metrics": {"get": get("Metrics", "Figures for Prometheus.", {"text/plain": {"schema": {"type": "string"}}})},
    }
