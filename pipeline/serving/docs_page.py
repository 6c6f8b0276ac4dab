"""The page that explains every route: plain HTML from the OpenAPI description, without script or network."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Template


def docs_page(openapi: dict[str, Any], worlds: Sequence[str]) -> bytes:
    """The page; every text is escaped."""
    routes = [
        {
            "path": path,
            "tag": operation.get("tags", ["other"])[0],
            "summary": _prose(operation.get("description", "")),
            "parameters": [_parameter(p) for p in operation.get("parameters", [])],
            "example": _example(path, worlds),
            "formats": sorted(operation["responses"]["200"].get("content", {})),
        }
        for path, methods in openapi["paths"].items()
        for operation in [methods["get"]]
    ]
    info = openapi["info"]
    return (
        _template()
        .render(title=info["title"], version=info["version"], about=_prose(info["description"]), routes=routes, worlds=worlds)
        .encode()
    )


@cache
def _template() -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(Path(__file__).parent / "templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).get_template(
        "docs.html.j2"
    )


def _prose(text: str) -> list[list[str]]:
    """Its paragraphs, each in pieces: words and what stands between backticks by turns."""
    return [" ".join(paragraph.split()).split("`") for paragraph in text.split("\n\n") if paragraph.strip()]


def _parameter(parameter: dict[str, Any]) -> dict[str, Any]:
    schema = parameter["schema"]
    options = [s for s in schema.get("anyOf", [schema]) if s.get("type") != "null"]
    kind = options[0]
    allowed = ", ".join(map(str, kind.get("enum", []))) or kind.get("format") or kind.get("type", "")
    limits = [
        f"{word} {kind[key]}" for key, word in (("minimum", "at least"), ("maximum", "at most"), ("maxLength", "up to")) if key in kind
    ]
    return {
        "name": parameter["name"],
        "place": parameter["in"],
        "needed": parameter.get("required", False),
        "says": _prose(parameter.get("description", "")),
        "allowed": ", ".join([allowed, *limits]),
        "default": schema.get("default"),
    }


def _example(path: str, worlds: Sequence[str]) -> str | None:
    """An address that can be followed as it stands, where names are known."""
    address = path.replace("{world}", worlds[0] if worlds else "").replace("{issue_time}", "latest")
    return None if "{" in address or (not worlds and "{world}" in path) else address
