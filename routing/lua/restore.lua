-- Brings what Redis knows of tokens up to what Postgres has kept: a reading like any other, which a newer one overrides.
--
-- ARGV[1]   limits, MessagePack: keep, pools, ahead; see publish.lua
-- ARGV[2..] tokens, MessagePack: mint, and where Postgres has the token: pools, liquidity, at; the last two as text
-- Returns what each of them shows then.
local answer = {}
for i = 2, #ARGV do
  local kept = cmsgpack.unpack(ARGV[i])
  local key = key_of(kept.mint)
  if kept.at and tonumber(kept.at) <= newest then
    redis.call('HSET', key, 'kept_pools', kept.pools, 'kept_at', kept.at)
    if kept.liquidity then take_reading(key, '', kept.liquidity, kept.at) end
    add_up(key)
  end
  -- A token of which nothing at all is known leaves no hash behind.
  if redis.call('EXISTS', key, key .. ':trades') > 0 then
    redis.call('HSET', key, 'compared', epoch)
    redis.call('EXPIRE', key, limits.keep)
  end
  answer[#answer+1] = shown(kept.mint)
end
return answer
