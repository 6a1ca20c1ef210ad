"""Where the Lua scripts on orders are, and what each of them begins with."""

from pathlib import Path

import msgspec

from orders.stores import book
from routing.store import CLOCK, lua

LUA = Path(__file__).parent / "lua"
MSGPACK = msgspec.msgpack.Encoder()
PREFIX = CLOCK + book.LUA + lua(LUA / "moves.lua")
"""What every script on live orders begins with."""
