-- Drops orders that do not wait any more.
--
-- KEYS[1] waiting:expiring.  ARGV[1] until when they were put off, ARGV[2..] their ids
--
-- One that came back has another time since, and keeps it.
for i = 2, #ARGV do
  if redis.call('ZSCORE', KEYS[1], ARGV[i]) == ARGV[1] then redis.call('ZREM', KEYS[1], ARGV[i]) end
end
