-- Takes orders that wait out of the book for a while: their price is reached, and they may not fire.
--
-- | key | what is done to it |
-- |---|---|
-- | orders:stopped | counts how many times this happened to an order, until nothing stops it |
--
-- ARGV[1] for how many ms the first time; ARGV[2] for how many at most; it doubles in between.  Then pairs of an order
-- id and its share of that time, from 0 to 1.  The sweep puts them back; one that has moved on is left as it is.
for i = 3, #ARGV, 2 do
  local id = ARGV[i]
  local h = standing(id)
  if h.status == 'pending' and h.waits and not h.intent then
    leave_book(id, h)
    local times = redis.call('HINCRBY', 'orders:stopped', id, 1)
    local for_ms = math.min(tonumber(ARGV[1]) * 2 ^ math.min(times - 1, 10), tonumber(ARGV[2]))
    redis.call('ZADD', 'orders:open', now + math.floor(for_ms * tonumber(ARGV[i + 1])), id)
  end
end
