-- Takes orders whose price is reached out of their buckets: the lowest price first, at a price the oldest.
--
-- | key | what is done to it |
-- |---|---|
-- | limit_levels:{<pair>}, limit_bucket:{<pair>}:<price> | what is reached leaves them |
-- | limit_claims:{<pair>} | hash: what was taken, by the claim's name: '<until> <id>,<id>,… <evidence>' |
--
-- ARGV[1], MessagePack: pair, level (the highest that is reached), most (orders to take), name (of this claim),
--   lease (until when it is its taker's, epoch ms, as text), evidence
-- Returns the ids taken.
local asked = cmsgpack.unpack(ARGV[1])
local tag = '{' .. asked.pair .. '}'
local levels, claims, ids = 'limit_levels:' .. tag, 'limit_claims:' .. tag, {}

-- Run again after a lost reply, it finds what it took: an order that left its bucket is in one record and in one only.
local taken = redis.call('HGET', claims, asked.name)
if taken then
  for id in string.gmatch(string.match(taken, '^%d+ (%S+) '), '[^,]+') do ids[#ids+1] = id end
  return ids
end

for _, price in ipairs(redis.call('ZRANGEBYSCORE', levels, '-inf', asked.level, 'LIMIT', 0, asked.most)) do
  local bucket = 'limit_bucket:' .. tag .. ':' .. price
  local oldest = redis.call('ZPOPMIN', bucket, asked.most - #ids)
  for i = 1, #oldest, 2 do ids[#ids+1] = oldest[i] end
  if redis.call('EXISTS', bucket) == 0 then redis.call('ZREM', levels, price) end
  if #ids >= asked.most then break end
end

-- In the same step: what is in no bucket any more is on record until it has been fired.
if #ids > 0 then
  redis.call('HSET', claims, asked.name, asked.lease .. ' ' .. table.concat(ids, ',') .. ' ' .. asked.evidence)
end
return ids
