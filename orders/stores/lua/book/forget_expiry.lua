-- Drops orders that no longer wait.
--
-- KEYS[1] waiting:expiring.  ARGV[1] the time until which they were postponed, ARGV[2..] their ids
--
-- An order that rests again has a new expiry time by now, and keeps it.
for i = 2, #ARGV do
  if redis.call('ZSCORE', KEYS[1], ARGV[i]) == ARGV[1] then redis.call('ZREM', KEYS[1], ARGV[i]) end
end
