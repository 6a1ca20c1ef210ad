-- Has the sweep put orders back into the book at once that a stop has kept out of it.
--
-- | key | what is done to it |
-- |---|---|
-- | orders:stopped | the orders are taken out |
--
-- ARGV: order ids.  One that rests again, or has moved on, is left as it is.
for i = 1, #ARGV do
  local id = ARGV[i]
  redis.call('HDEL', 'orders:stopped', id)
  local h = standing(id)
  if h.status == 'pending' and h.waits and not h.intent and (h.place or '') == '' then
    redis.call('ZADD', 'orders:open', 'LT', now, id)
  end
end
