-- Returns waiting orders whose time has passed, each put off as it is taken: no other worker takes it too.
--
-- KEYS[1] waiting:expiring.  ARGV: now, how many, until when each is put off
local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
for _, id in ipairs(ids) do redis.call('ZADD', KEYS[1], ARGV[3], id) end
return ids
