"""The directory of the order Lua scripts, and their common prefix."""

from pathlib import Path

import msgspec

from orders.stores import book
from routing.store import CLOCK, lua

LUA = Path(__file__).parent / "lua"
MSGPACK = msgspec.msgpack.Encoder()
PREFIX = CLOCK + book.LUA + lua(LUA / "moves.lua")
"""The beginning of every script on live orders."""
