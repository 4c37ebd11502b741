"""Static files (style sheet, script, icon), under addresses that change with their content."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from worker.report.web.rendering import is_static, static_files

_FILES = static_files()
_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


async def static(request: Request) -> Response:
    """Serve one file. Browsers may cache it forever."""
    name = request.path_params["name"]
    if not is_static(request.path_params["mark"], name):
        raise HTTPException(404)
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    return Response(_FILES[name], media_type=_TYPES[name.rpartition(".")[2]], headers=headers)
