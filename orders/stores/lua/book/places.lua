-- Functions that add waiting orders to the order book and remove them, for the scripts that move orders.
--
-- | key | what is done to it |
-- |---|---|
-- | limit_bucket:{<pair>}:<price> | sorted set: orders that rest at a price, by time priority, then by id |
-- | limit_levels:{<pair>} | sorted set: prices that have a bucket, by level |
-- | limit:{<pair>}:<order id> | hash: price and amount of a resting order |
-- | limit_pairs | set: pairs that may have levels |
-- | snipe:{<mint>}:<index> | sorted set: armed orders by the threshold they wait for |
-- | snipe:{<mint>}:windows, :pairs | sets: windows that have a `volume:` index, pairs that have a `price:` index |
-- | waiting:expiring | sorted set: waiting orders that expire, by expiry time |
--
-- A place is a string: 'limit <pair> <price>' or 'snipe <mint> <index>'.  `rest` and `watch` return the place of the
-- order, and `leave` takes it as an argument.  An order is in one place at a time.
local NAMED = {volume = 'windows', price = 'pairs'}

-- Returns the set that lists an index family of which a token may have several, and the name of this index in it.
-- All such indexes of a token can be found through that set.
local function named(mint, index)
  local family, name = string.match(index, '^(%a+):(%S+)$')
  if family then return 'snipe:{' .. mint .. '}:' .. NAMED[family], name end
end

local function leave(id, at)
  local kind, tag, where = string.match(at, '^(%a+) (%S+) (%S+)$')
  if kind == 'limit' then
    local bucket = 'limit_bucket:{' .. tag .. '}:' .. where
    redis.call('ZREM', bucket, id)
    if redis.call('EXISTS', bucket) == 0 then redis.call('ZREM', 'limit_levels:{' .. tag .. '}', where) end
    redis.call('DEL', 'limit:{' .. tag .. '}:' .. id)
  elseif kind == 'snipe' then
    local index = 'snipe:{' .. tag .. '}:' .. where
    redis.call('ZREM', index, id)
    local names, name = named(tag, where)
    if names and redis.call('EXISTS', index) == 0 then redis.call('SREM', names, name) end
  end
end

local function watch(id, mint, where, threshold)
  redis.call('ZADD', 'snipe:{' .. mint .. '}:' .. where, threshold, id)
  local names, name = named(mint, where)
  if names then redis.call('SADD', names, name) end
  return 'snipe ' .. mint .. ' ' .. where
end

local function rest(id, order)
  if order.type ~= 'limit' then return watch(id, order.mint, order.watch, order.watchAt) end
  local price, level = order.restPrice or order.limitPrice, order.restLevel or order.level
  local tag = '{' .. order.pair .. '}'
  redis.call('ZADD', 'limit_bucket:' .. tag .. ':' .. price, order.since, id)
  redis.call('ZADD', 'limit_levels:' .. tag, level, price)
  redis.call('SADD', 'limit_pairs', order.pair)
  redis.call('HSET', 'limit:' .. tag .. ':' .. id, 'price', price, 'amount', order.amountIn)
  return 'limit ' .. order.pair .. ' ' .. price
end

local function expire_at(id, at)
  if at then redis.call('ZADD', 'waiting:expiring', at, id) else redis.call('ZREM', 'waiting:expiring', id) end
end
