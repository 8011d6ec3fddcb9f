"""The admin port of the engine that runs on this machine with given settings, asked by the other commands."""

from __future__ import annotations

import http.client
import json
from typing import Any

from tradingbot_engine.settings import EngineSettings

UNREACHABLE = (OSError, ValueError, http.client.HTTPException)
"""What `ask` raises where nobody answers, or not as an engine does."""


def ask(settings: EngineSettings, method: str, path: str, *, body: Any = None, timeout_s: float) -> dict[str, Any]:
    """
    Return the answer of a request, whatever its status; an engine's refusal says why in `error`.

    Args:
        settings: Of the running engine: where its port and its token are.
        body: JSON; None for none.
        timeout_s: Limit of the whole request.
    """
    admin = settings.admin
    port = int(admin.port_file.read_text()) if admin.port_file and admin.port_file.exists() else admin.port
    token = admin.token_file.read_text().strip() if admin.token_file else ""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        data = None if body is None else json.dumps(body)
        connection.request(method, path, body=data, headers={"Authorization": f"Bearer {token}"})
        answer = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    if not isinstance(answer, dict):
        raise ValueError("the answer is no JSON object")
    return answer
