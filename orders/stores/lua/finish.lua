-- Completes reservations made by reserve.lua: publishes the events Postgres has committed, or releases the order.
--
-- ARGV[1]   number of the epoch
-- ARGV[2]   maximum entries of the feed
-- ARGV[3..] MessagePack:
--   id, intent                   the order and its reservation
--   committed                    whether Postgres committed it; otherwise the order continues as before
--   to, mode, look_in, body      see `settle` in moves.lua
-- Returns the ids of the orders that had this reservation.
local done, feed = {}, {}
for i = 3, #ARGV do
  local move = cmsgpack.unpack(ARGV[i])
  local id, key, h = move.id, key_of(move.id), standing(move.id)
  if h.intent and h.intent == move.intent then
    local events = {}
    for event in string.gmatch(redis.call('HGET', key, 'intended'), '[^\n]+') do events[#events+1] = event end
    redis.call('HDEL', key, 'intent', 'intended')
    if move.committed then
      settle(id, h, move, h.seq + #events)
      for s, event in ipairs(events) do tell(feed, id, h.seq + s, event, move.mode == 'final' and s == #events) end
    elseif h.waits and h.status == 'pending' then
      redis.call('HSET', key, 'lease', 0, 'place', rest(id, cjson.decode(redis.call('HGET', key, 'order'))))
      redis.call('ZREM', 'orders:open', id)
    else
      redis.call('HSET', key, 'lease', 0, 'ready', 0)
      redis.call('ZADD', 'orders:open', now, id)
    end
    done[#done+1] = id
  end
end
publish(feed, ARGV[2])
return done
