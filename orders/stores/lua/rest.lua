-- Puts waiting orders that are outside the book, or in the wrong place in it, into their place.
--
-- ARGV: order ids.  Returns the ids of those that still wait.
local rested = {}
for i = 1, #ARGV do
  local id, key = ARGV[i], key_of(ARGV[i])
  local h = standing(id)
  if h.status == 'pending' and h.waits and not h.intent then
    leave_book(id, h)
    local order = cjson.decode(redis.call('HGET', key, 'order'))
    redis.call('HSET', key, 'place', rest(id, order))
    expire_at(id, order.expiresAt)
    redis.call('ZREM', 'orders:open', id)
    rested[#rested+1] = id
  end
end
return rested
