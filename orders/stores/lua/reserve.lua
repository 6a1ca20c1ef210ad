-- Reserves orders for an end or an amendment that Postgres must commit before anybody is told of it.
--
-- A reserved order is out of the book and cannot move; it is released by finish.lua, or by whoever finds it when its
-- lease has run out and brings to its end what was intended.
--
-- ARGV[1]   number of the epoch
-- ARGV[2]   lease, ms
-- ARGV[3..] MessagePack:
--   id, status, seq, fence, tx   as in advance.lua
--   intent                       what is to become of it, unique to this reservation
--   events                       JSON texts of the events that will tell it; one only where seq is absent
-- Returns for each order reserved: {id, those events, a line each, the events before them ...}
local reserved = {}
for i = 3, #ARGV do
  local move = cmsgpack.unpack(ARGV[i])
  local id, key, h = move.id, key_of(move.id), standing(move.id)
  if stands(h, move) then
    leave_book(id, h)
    local intended = numbered(table.concat(move.events, '\n'), move, h.seq + 1)
    redis.call('HSET', key, 'intent', move.intent, 'intended', intended, 'fence', '', 'lease', now + ARGV[2])
    redis.call('ZADD', 'orders:open', now + ARGV[2], id)
    h.intent = move.intent
  end
  if h.intent and h.intent == move.intent then
    local answer = {id, redis.call('HGET', key, 'intended')}
    for _, entry in ipairs(redis.call('XRANGE', key .. ':events', '-', '+')) do answer[#answer+1] = entry[2][2] end
    reserved[#reserved+1] = answer
  end
end
return reserved
