-- Merges the market data that Postgres keeps of tokens into Redis.  It counts as a liquidity reading like any other: a
-- newer one replaces it.
--
-- ARGV[1]   limits, MessagePack: keep, pools, ahead; see publish.lua
-- ARGV[2..] tokens, MessagePack: mint, and if Postgres has the token: pools, liquidity, at; the last two as text
-- Returns the resulting summary of each token.
local answer = {}
for i = 2, #ARGV do
  local kept = cmsgpack.unpack(ARGV[i])
  local key, shown = key_of(kept.mint), {kept.mint, 1, 0, '', ''}
  if kept.at then
    redis.call('HSET', key, 'kept_pools', kept.pools, 'kept_at', kept.at)
    if kept.liquidity then take_reading(key, '', kept.liquidity, kept.at) end
  end
  -- No hash is created for a token without any data.
  if redis.call('EXISTS', key, key .. ':trades') > 0 then
    redis.call('HSET', key, 'compared', epoch)
    shown = add_up(kept.mint)
    redis.call('EXPIRE', key, limits.keep)
  end
  answer[#answer+1] = shown
end
return answer
