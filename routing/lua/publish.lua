-- Publishes market events to the stream, and updates the tokens' market data.
--
-- ARGV[1]   limits, MessagePack:
--   entries      approximate maximum entries of the stream
--   window       longest window of trades, ms
--   keep         TTL of a token's data after its last event, s
--   trades, pools   maximum kept per token
--   ahead        see market.lua
-- ARGV[2..] events, MessagePack: id, kind, mint, venue, amount, at
-- Returns the number of events too far ahead of the clock, then the summary of each token whose liquidity may have
-- changed.
local oldest, doubted, touched, answer = now - limits.window, 0, {}, {}

local function take_trade(key, event)
  local trades = key .. ':trades'
  redis.call('ZADD', trades, event.at, event.id .. ':' .. event.amount)
  redis.call('ZREMRANGEBYSCORE', trades, '-inf', whole(oldest))
  redis.call('ZREMRANGEBYRANK', trades, 0, -(limits.trades + 1))
  redis.call('EXPIRE', trades, limits.keep)
end

for i = 2, #ARGV do
  local event = cmsgpack.unpack(ARGV[i])
  local key = key_of(event.mint)
  if event.at > newest then doubted = doubted + 1 end
  event.at, event.amount = whole(event.at), whole(event.amount)
  if event.kind == 'trade' then take_trade(key, event)
  else
    if event.kind == 'pool' then count_pool(key, event.id, event.amount, event.at)
    else take_reading(key, event.id, event.amount, event.at) end
    touched[event.mint] = add_up(event.mint)
  end
  redis.call('EXPIRE', key, limits.keep)
  redis.call('XADD', 'market:events', 'MAXLEN', '~', limits.entries, '*', 'id', event.id, 'kind', event.kind,
    'mint', event.mint, 'venue', event.venue, 'amount', event.amount, 'at', event.at)
end
for _, shown in pairs(touched) do answer[#answer+1] = shown end
return {doubted, answer}
