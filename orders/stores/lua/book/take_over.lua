-- Takes over the claims whose lease has expired.
--
-- KEYS[1] limit_claims:{<pair>}, see claim.lua.  ARGV: now, the new lease
-- Returns the name of each claim, and its record without the lease.
local found, all = {}, redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local lease, rest = string.match(all[i+1], '^(%d+) (.*)$')
  if tonumber(lease) <= tonumber(ARGV[1]) then
    redis.call('HSET', KEYS[1], all[i], ARGV[2] .. ' ' .. rest)
    found[#found+1] = all[i]
    found[#found+1] = rest
  end
end
return found
