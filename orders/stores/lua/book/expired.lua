-- Returns expired waiting orders.  Each is postponed as it is taken, so that no other worker takes it too.
--
-- KEYS[1] waiting:expiring.  ARGV: now, how many, the time until which each is postponed
local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
for _, id in ipairs(ids) do redis.call('ZADD', KEYS[1], ARGV[3], id) end
return ids
