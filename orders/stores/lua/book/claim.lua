-- Takes orders whose price is reached out of their buckets, in price-time priority: lowest price first, then oldest.
-- Their live state stays as it is until they trigger.
--
-- | key | what is done to it |
-- |---|---|
-- | limit_levels:{<pair>}, limit_bucket:{<pair>}:<price> | reached orders are removed |
-- | limit_claims:{<pair>} | hash: the claimed orders, by claim name: '<until> <id>,<id>,… <evidence>' |
--
-- ARGV[1], MessagePack: pair, level (the highest level reached), most (orders to take), name (of this claim),
--   lease (when the claim's lease expires, epoch ms, as text), evidence
-- Returns the ids taken.
local asked = cmsgpack.unpack(ARGV[1])
local tag = '{' .. asked.pair .. '}'
local levels, claims, ids = 'limit_levels:' .. tag, 'limit_claims:' .. tag, {}

-- Idempotent: run again after a lost reply, it returns the orders it took.  An order that left its bucket is in exactly
-- one claim.
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

-- Atomic with the removal: an order that is out of its bucket is in a claim until it has triggered.
if #ids > 0 then
  redis.call('HSET', claims, asked.name, asked.lease .. ' ' .. table.concat(ids, ',') .. ' ' .. asked.evidence)
end
return ids
