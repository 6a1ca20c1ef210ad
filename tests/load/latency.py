"""One user, an idle machine, no market delays: from POST to `confirmed` on the socket.

.venv/bin/python -m tests.load.latency --orders 500
"""

import argparse
import json
import time

from websockets.sync.client import connect

from tests.system import NO_DELAYS, System, eventually, system

ORDER = json.dumps({"type": "market", "tokenIn": "SOL", "tokenOut": "USDC", "amount": "1.5"})


def singles(engine: System, orders: int) -> list[float]:
    """Place orders one after the other; return the milliseconds from each to its `confirmed`, the shortest first."""
    took = []
    for _ in range(orders):
        with connect(f"{engine.ws}/api/orders/execute", additional_headers=engine.headers) as socket:
            begun = time.monotonic()
            socket.send(ORDER)
            last = [json.loads(message) for message in socket][-1]
            took.append((time.monotonic() - begun) * 1000)
            assert last["status"] == "confirmed", last
    return sorted(took)


def main() -> None:
    """Parse, run, print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--orders", type=int, default=500)
    chosen = options.parse_args()
    with system(NO_DELAYS) as engine:
        eventually(lambda: engine.redis().exists("quotes:{SOL-USDC}:BEST"), 90, "the first quotes")
        took = singles(engine, chosen.orders)
    figures = {
        "orders": chosen.orders,
        "order sent to confirmed received, ms": {
            "p50": round(took[len(took) // 2], 1),
            "p99": round(took[len(took) * 99 // 100], 1),
            "max": round(took[-1], 1),
        },
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
