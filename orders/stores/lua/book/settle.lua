-- Deletes a claim whose orders have triggered, unless Redis has lost data since: then that may be lost, too.
--
-- KEYS[1] limit_claims:{<pair>}, see claim.lua; KEYS[2] store:epoch, read.  ARGV: number of the claim's epoch, its name
if redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('HDEL', KEYS[1], ARGV[2]) end
