-- Stores a venue's quote, and chooses BEST again.  The clock comes before this file.
--
-- | key | what is done to it |
-- |---|---|
-- | KEYS[1] | hash: the venue's last quote |
-- | KEYS[2] | hash: BEST, a copy of the winning quote |
-- | KEYS[3..] | read: every venue's last quote |
--
-- ARGV: the quote's fields, MessagePack; its observed_at; its TTL, ms; the maximum age of BEST, ms; how far ahead of
-- the clock it may be, ms; the rank BEST must exceed
-- Returns {1, BEST's price less fee or false} if it was stored, {0} if a later observation is stored, {-1} if it is too
-- far ahead of the clock.
local quote, observed_at, keep, fresh, newest, least = ARGV[1], tonumber(ARGV[2]), ARGV[3], now - tonumber(ARGV[4]),
  now + tonumber(ARGV[5]), ARGV[6]
if observed_at > newest then return {-1} end

-- An earlier observation replaces a later one only if the later is ahead of the clock, which has stepped back since.
local known = tonumber(redis.call('HGET', KEYS[1], 'observed_at') or '-1')
if known > observed_at and known <= newest then return {0} end
local flat = {}
for name, value in pairs(cmsgpack.unpack(quote)) do flat[#flat + 1] = name; flat[#flat + 1] = value end
redis.call('HSET', KEYS[1], unpack(flat))
redis.call('HINCRBY', KEYS[1], 'polls', 1)
redis.call('PEXPIRE', KEYS[1], keep)

-- BEST is chosen atomically with the store, so it always names an existing quote.
local rank, winner = least, nil
for i = 3, #KEYS do
  local seen = redis.call('HMGET', KEYS[i], 'rank', 'observed_at')
  local at = tonumber(seen[2] or '-1')
  if seen[1] and at >= fresh and at <= newest and seen[1] > rank then rank, winner = seen[1], KEYS[i] end
end
redis.call('DEL', KEYS[2])
local best = false
if winner then
  redis.call('HSET', KEYS[2], unpack(redis.call('HGETALL', winner)))
  redis.call('HDEL', KEYS[2], 'polls')
  redis.call('PEXPIRE', KEYS[2], keep)
  best = redis.call('HGET', KEYS[2], 'net_price')
end
return {1, best}
