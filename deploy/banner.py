"""What a start shows once the engine is ready: where everything is, and a first order."""

import json
import os
import shlex
from collections.abc import Mapping
from typing import Any

from deploy import roles
from deploy.ports import located


def of(settings: Mapping[str, Any], api: str, *, admin: bool, flower: bool) -> str:
    """Return the lines; `admin` says whether the user of that name has the password that the settings tell."""
    base, data = f"http://{located(settings['ENGINE_HOST'])}", settings["ENGINE_DATA_DIR"]
    secret = "ENGINE_ADMIN_PASSWORD" if settings["ENGINE_ADMIN_PASSWORD"] is not None else data / "admin-password"
    lines = ["  API      left out by --scale api=0: nothing accepts orders here"]
    if api:
        lines = [f"  desk     {api}/{way_in(settings)}", f"  API      {api}", f"  docs     {api}/api/docs/"]
        lines += [f"  admin    {api}/admin/{f'   (user {roles.ADMIN}, first password in {secret})' if admin else ''}"]
    if flower:
        lines.append(f"  Flower   {base}:{settings['ENGINE_FLOWER_PORT']}   (user {roles.ADMIN}, password in {secret})")
    listed = data / "metrics.json"
    lines += [
        f"  metrics  {api}/metrics   (each process: {listed})" if api else f"  metrics  {listed}",
        f"  logs     {data / 'logs'}",
        *(first_order(settings, api) if api else ()),
        "\nCtrl-C stops everything.",
    ]
    return "\n".join(lines)


def first_order(settings: Mapping[str, Any], api: str) -> list[str]:
    order = json.dumps({"type": "market", "tokenIn": "SOL", "tokenOut": "USDC", "amount": "1.5"})
    key = shlex.quote(str(settings["ENGINE_DATA_DIR"] / "api-key"))
    return [
        "\nPlace an order:\n",
        f'  curl -i {api}/api/orders/execute -H "Authorization: Bearer $(cat {key})"'
        f" -H 'Content-Type: application/json' -d {shlex.quote(order)}",
        "\nor watch one live:\n",
        "  python3 manage.py order market SOL USDC 1.5",
    ]


def way_in(settings: Mapping[str, Any]) -> str:
    """The path that opens the desk: a link that logs in, once, where this start made one."""
    link = settings["ENGINE_DATA_DIR"] / "desk-link"
    # Nobody but who sits here: a journal would keep it.
    return f"enter/{link.read_text()}" if link.exists() and os.isatty(1) else ""
