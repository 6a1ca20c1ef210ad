"""`python -m deploy.health`: asks the process of this container whether it is ready.  Run often: it imports little."""

import http.client
import os
import sys

WITHIN_S = 4.0


def main() -> int:
    """Return 0 when the container's process is ready; say what is wrong otherwise."""
    port = int(os.environ.get("ENGINE_METRICS_PORT") or 9700)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WITHIN_S)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        print(answer.read().decode(errors="replace").strip())
    except (OSError, http.client.HTTPException) as problem:
        print(f"the process does not answer on port {port}: {problem}")
        return 1
    return int(answer.status != 200)


if __name__ == "__main__":
    sys.exit(main())
