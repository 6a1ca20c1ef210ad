-- Functions for the scripts that keep what tokens' markets show; they follow the clock.
--
-- | key | what is done to it |
-- |---|---|
-- | market:{<mint>} | hash: the token's pools and their worth |
-- | market:{<mint>}:trades | sorted set: what was traded, by time |
-- | store:epoch | read: the number of Redis' epoch, which is another after every loss |
--
-- Fields of the hash; times in epoch ms, amounts in US cents, both as text:
--   pool:<event id>            '<at>:<amount>' of a pool that was told of
--   read, read_at, read_id     the newest reading: what all pools together are worth
--   kept_pools, kept_at        pools there were when Postgres last kept the token, and when that was
--   pools, liquidity, liquidity_at   what follows from the above; the last two are absent while nothing is known
--   compared                   epoch in which the hash was brought up to what Postgres has
--
-- The hash depends only on which events there were, not on their order or on how often one came.  What claims to have
-- happened further ahead of the clock than `ahead` ms is not believed: its time cannot be right.
local limits = cmsgpack.unpack(ARGV[1])
local newest = now + limits.ahead
local epoch = redis.call('GET', 'store:epoch') or '0'

-- Lua would write large numbers in short.
local function whole(number) return string.format('%.0f', number) end

local function key_of(mint) return 'market:{' .. mint .. '}' end

local function fields_of(key)
  local flat, fields = redis.call('HGETALL', key), {}
  for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
  return fields
end

-- A pool counts once, by the event that told of it, and as one of at most so many.
local function count_pool(key, id, amount, at)
  local known = tonumber(redis.call('HGET', key, 'pools') or '0')
  if known < limits.pools then redis.call('HSETNX', key, 'pool:' .. id, at .. ':' .. amount) end
end

-- A reading gives way to a newer one, and one that is not believed to any that is.
local function take_reading(key, id, amount, at)
  if tonumber(at) > newest then return end
  local known = redis.call('HMGET', key, 'read_at', 'read_id')
  local read_at = tonumber(known[1] or '-1')
  if read_at > newest or tonumber(at) > read_at or (tonumber(at) == read_at and id >= known[2]) then
    redis.call('HSET', key, 'read', amount, 'read_at', at, 'read_id', id)
  end
end

-- The worth is the newest reading and the pools that are newer; a reading of the same millisecond has seen the pool.
-- Of the pools Postgres had counted, those told of again are among those it had: none counts twice.
-- Returns what the token shows: {mint, 1 if Redis has all that Postgres has, pools, liquidity or '', its time or ''}.
local function add_up(mint)
  local key = key_of(mint)
  local fields = fields_of(key)
  local latest, kept_at = tonumber(fields.read_at or '-1'), tonumber(fields.kept_at or '-1')
  local worth, read_at, told, since = tonumber(fields.read or '0'), latest, 0, 0
  for name, value in pairs(fields) do
    if string.sub(name, 1, 5) == 'pool:' then
      local at, amount = string.match(value, '^(%d+):(%d+)$')
      at, told = tonumber(at), told + 1
      if at > kept_at then since = since + 1 end
      if at > read_at and at <= newest then worth, latest = worth + tonumber(amount), math.max(latest, at) end
    end
  end
  local pools = math.max(told, tonumber(fields.kept_pools or '0') + since)
  local compared = fields.compared == epoch and 1 or 0
  if latest < 0 then
    redis.call('HSET', key, 'pools', pools)
    redis.call('HDEL', key, 'liquidity', 'liquidity_at')
    return {mint, compared, pools, '', ''}
  end
  redis.call('HSET', key, 'pools', pools, 'liquidity', whole(worth), 'liquidity_at', whole(latest))
  return {mint, compared, pools, whole(worth), whole(latest)}
end
