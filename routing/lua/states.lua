-- Reads tokens' market data: pools, liquidity, and the volumes traded in time windows.
--
-- ARGV[1]   limits, MessagePack:
--   at           the time to evaluate at, epoch ms
--   age          age past which liquidity is unknown, ms
--   ahead        see market.lua
-- ARGV[2..] tokens, MessagePack: mint, windows (lengths in ms)
-- Returns for each {1 if Redis has all that Postgres has, pools, liquidity or '', volume of each window}.
local answers = {}

-- Members end in ':<amount>'.  A window covers (at - window, at].
local function traded(key, window)
  local sum = 0
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', key .. ':trades', string.format('(%.0f', limits.at - window),
    whole(limits.at))) do
    sum = sum + tonumber(string.match(member, ':(%d+)$'))
  end
  return whole(sum)
end

for i = 2, #ARGV do
  local asked = cmsgpack.unpack(ARGV[i])
  local key = key_of(asked.mint)
  local known = redis.call('HMGET', key, 'compared', 'pools', 'liquidity', 'liquidity_at')
  local pools, liquidity, at = tonumber(known[2] or '0'), known[3] or '', tonumber(known[4] or '-1')
  -- A token with trades or liquidity has a pool, even if Redis lost the event that reported it.
  if pools == 0 and (liquidity ~= '' or redis.call('EXISTS', key .. ':trades') == 1) then pools = 1 end
  if at < limits.at - limits.age or at > newest then liquidity = '' end
  local answer = {known[1] == epoch and 1 or 0, pools, liquidity}
  for _, window in ipairs(asked.windows) do answer[#answer+1] = traded(key, window) end
  answers[#answers+1] = answer
end
return answers
