"""`python -m tests.deploy.image` builds the image without a container engine, and with --try runs every role in it."""

import argparse
import subprocess
import sys
from pathlib import Path

from config.env import ROOT
from tests.deploy.image.build import TAG, CannotBuild, build, check_tools, sizes
from tests.deploy.image.trial import Trial


def main(arguments: list[str]) -> int:
    """Build, tell the sizes and, when asked to, try; returns the exit code."""
    options = parse(arguments)
    try:
        check_tools()
        options.work.mkdir(parents=True, exist_ok=True)
        build(options.tag, options.work)
        print(sizes(options.tag), flush=True)
        if options.attempt:
            Trial(options.tag).run()
    except CannotBuild as problem:
        print(problem, file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as problem:
        print(f"{problem.cmd[0]} failed with exit code {problem.returncode}; its own words are above", file=sys.stderr)
        return 1
    return 0


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.deploy.image", description=__doc__)
    parser.add_argument("--tag", default=TAG, help=f"name of the image (default {TAG})")
    parser.add_argument(
        "--work", type=Path, default=ROOT / ".data" / "image", help="folder that keeps the base and the wheels"
    )
    parser.add_argument("--try", dest="attempt", action="store_true", help="then run every role in the image")
    return parser.parse_args(arguments)


sys.exit(main(sys.argv[1:]))
