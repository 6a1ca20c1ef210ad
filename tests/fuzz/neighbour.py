"""A good client beside the fuzzer, as a process of its own: places one order after the other and times each.

.venv/bin/python -m tests.fuzz.neighbour http://127.0.0.1:8000 [KEY]
"""

import json
import signal
import sys
import time
from http.client import HTTPConnection
from urllib.parse import urlsplit

ORDER = json.dumps({"type": "market", "tokenIn": "SOL", "tokenOut": "USDC", "amount": "1.5", "slippageBps": 2000})
EVERY_S = 0.1
STOPPED: list[int] = []


def main(url: str, key: str = "") -> None:
    """Place orders until told to stop; print when each began, its status and its milliseconds."""
    signal.signal(signal.SIGTERM, lambda number, _: STOPPED.append(number))
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    connection = HTTPConnection(str(urlsplit(url).netloc), timeout=10)
    placed = []
    while not STOPPED:
        begun = time.monotonic()
        try:
            connection.request("POST", "/api/orders/execute", ORDER, headers)
            answer = connection.getresponse()
            answer.read()
            status = answer.status
        except OSError:
            connection.close()
            status = 0
        placed.append((begun, status, (time.monotonic() - begun) * 1000))
        time.sleep(EVERY_S)
    print(json.dumps(placed))


if __name__ == "__main__":
    main(*sys.argv[1:])
