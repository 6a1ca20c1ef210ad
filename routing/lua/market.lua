-- Functions for the scripts that maintain tokens' market data.  The clock comes before this file.
--
-- | key | what is done to it |
-- |---|---|
-- | market:{<mint>} | hash: the token's pools and their liquidity |
-- | market:{<mint>}:trades | sorted set: trades by time |
-- | store:epoch | read: the number of the epoch, which changes after every loss |
--
-- Fields of the hash; times in epoch ms, amounts in US cents, both as text:
--   pool:<event id>            '<at>:<amount>' of a reported pool
--   read, read_at, read_id     the newest liquidity reading, the total over all pools
--   kept_pools, kept_at        the number of pools when Postgres last saved the token, and that time
--   pools, liquidity, liquidity_at   computed from the above; the last two are absent while liquidity is unknown
--   compared                   epoch in which the data of Postgres was last merged into the hash
--
-- The hash depends only on the set of events, not on their order or on duplicates.  An event more than `ahead` ms ahead
-- of the clock is not used, because its time must be wrong.
local limits = cmsgpack.unpack(ARGV[1])
local newest = now + limits.ahead
local epoch = redis.call('GET', 'store:epoch') or '0'

-- Lua formats large numbers in exponent notation; this function does not.
local function whole(number) return string.format('%.0f', number) end

local function key_of(mint) return 'market:{' .. mint .. '}' end

local function fields_of(key)
  local flat, fields = redis.call('HGETALL', key), {}
  for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
  return fields
end

-- A pool counts once, identified by its event; at most `pools` pools are counted.
local function count_pool(key, id, amount, at)
  local known = tonumber(redis.call('HGET', key, 'pools') or '0')
  if known < limits.pools then redis.call('HSETNX', key, 'pool:' .. id, at .. ':' .. amount) end
end

-- A newer reading replaces an older one.  Any valid reading replaces a stored one that is too far ahead of the clock.
local function take_reading(key, id, amount, at)
  if tonumber(at) > newest then return end
  local known = redis.call('HMGET', key, 'read_at', 'read_id')
  local read_at = tonumber(known[1] or '-1')
  if read_at > newest or tonumber(at) > read_at or (tonumber(at) == read_at and id >= known[2]) then
    redis.call('HSET', key, 'read', amount, 'read_at', at, 'read_id', id)
  end
end

-- Liquidity is the newest reading plus the pools newer than it; a reading of the same millisecond includes the pool.
-- Pools that Postgres has counted and that are reported again count once.
-- Returns the token's summary: {mint, 1 if Redis has all that Postgres has, pools, liquidity or '', its time or ''}.
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
