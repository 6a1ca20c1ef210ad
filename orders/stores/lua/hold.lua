-- Renews the leases of the orders that a worker holds under a fence.
--
-- ARGV[1] fence, ARGV[2] lease in ms, ARGV[3..] order ids
for i = 3, #ARGV do
  local key = key_of(ARGV[i])
  local h = redis.call('HMGET', key, 'fence', 'lease')
  if h[1] == ARGV[1] and h[2] ~= '0' then
    redis.call('HSET', key, 'lease', now + ARGV[2])
    redis.call('ZADD', 'orders:open', now + ARGV[2], ARGV[i])
  end
end
