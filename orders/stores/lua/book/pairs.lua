-- Returns the pairs that have levels or claims, and removes from limit_pairs those that no longer do.
local busy = {}
for _, pair in ipairs(redis.call('SMEMBERS', 'limit_pairs')) do
  local tag = '{' .. pair .. '}'
  if redis.call('EXISTS', 'limit_levels:' .. tag, 'limit_claims:' .. tag) > 0 then busy[#busy+1] = pair
  else redis.call('SREM', 'limit_pairs', pair) end
end
return busy
