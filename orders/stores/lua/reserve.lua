-- Reserves orders for an end or an amendment, which Postgres must commit before its events are published.
--
-- A reserved order is out of the book and cannot move.  finish.lua releases it.  If the lease expires first, another
-- process completes the reservation.
--
-- ARGV[1]   number of the epoch
-- ARGV[2]   lease, ms
-- ARGV[3..] MessagePack:
--   id, status, seq, fence, tx   as in advance.lua
--   intent                       the intended end or amendment, unique to this reservation
--   events                       JSON texts of the events to publish; only one if seq is absent
-- Returns for each reserved order: {id, those events (one per line), the earlier events ...}
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
