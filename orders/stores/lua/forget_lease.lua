-- Drops the lease of an API key, unless it was renewed.
--
-- | key | what is done to it |
-- |---|---|
-- | keys:connected:<epoch> | the key's lease is removed |
--
-- KEYS[1] the leases; ARGV[1] the key's id, ARGV[2] the score at which it was judged.  Returns 1 if it is dropped.
if tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1])) ~= tonumber(ARGV[2]) then return 0 end
return redis.call('ZREM', KEYS[1], ARGV[1])
