-- Forgets a claim whose orders have fired, unless Redis has been lost since: then their firing may be lost, too.
--
-- KEYS[1] limit_claims:{<pair>}, see claim.lua; KEYS[2] store:epoch, read.  ARGV: number of the claim's epoch, its name
if redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('HDEL', KEYS[1], ARGV[2]) end
