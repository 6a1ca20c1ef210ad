-- Puts orders into Redis with the events they already have, except those already there.  Idempotent.
--
-- ARGV[1]   maximum entries of the feed
-- ARGV[2..] orders, MessagePack:
--   id, status, attempt, final
--   body      the order itself
--   events    JSON texts, oldest event first
--   look_in   ms after which the order is due; 0 for one that only rests
--   waits     its type, if it waits
--   base      attempts that do not count towards MAX_ATTEMPTS: made before it last rested, or never sent
--   tx        signature of its open attempt
--   owner     account that placed it, if known
--   instead   expected {status, seq, fence} of a live order; if they match, this order replaces it
-- Returns the ids placed.
local placed, feed = {}, {}

local function remove(id, h)
  leave_book(id, h)
  expire_at(id, nil)
  redis.call('ZREM', 'orders:open', id)
  redis.call('DEL', key_of(id))
end

for i = 2, #ARGV do
  local order = cmsgpack.unpack(ARGV[i])
  local id, key, h = order.id, key_of(order.id), standing(order.id)
  if h.status and order.instead and stands(h, order.instead) then
    remove(id, h)
    h.status = false
  end
  if not h.status then
    local n = #order.events
    redis.call('HSET', key, 'status', order.status, 'seq', n, 'attempt', order.attempt, 'fence', '', 'lease', 0,
      'ready', 0, 'order', order.body)
    redis.call('DEL', key .. ':events')
    for seq, event in ipairs(order.events) do tell(feed, id, seq, event, order.final and seq == n) end
    if order.owner then redis.call('HSET', key, 'owner', order.owner) end
    if order.tx then redis.call('HSET', key, 'tx', order.tx) end
    if order.base > 0 then redis.call('HSET', key, 'base', order.base) end
    local resting = false
    if order.waits then
      redis.call('HSET', key, 'waits', order.waits)
      if order.status == 'pending' then
        local body = cjson.decode(order.body)
        redis.call('HSET', key, 'place', rest(id, body))
        if body.expiresAt then expire_at(id, body.expiresAt) end
        resting = order.look_in == 0
      end
    end
    if not (order.final or resting) then redis.call('ZADD', 'orders:open', now + order.look_in, id) end
    placed[#placed+1] = id
  end
end
publish(feed, ARGV[1])
return placed
