-- Notes a trusted price, and returns the level that has held for so many polls, or '' before there were as many.
--
-- KEYS[1] limit_seen:{<pair>}: the last prices, '<mark> <level>', the newest first
-- ARGV: mark, level, polls, silence after which earlier prices no longer count, ms
--
-- A price counts once, however often it is looked at: by its mark.
local last = redis.call('LINDEX', KEYS[1], 0)
if not last or string.match(last, '^%S+') ~= ARGV[1] then
  redis.call('LPUSH', KEYS[1], ARGV[1] .. ' ' .. ARGV[2])
  redis.call('LTRIM', KEYS[1], 0, ARGV[3] - 1)
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
local seen = redis.call('LRANGE', KEYS[1], 0, ARGV[3] - 1)
if #seen < tonumber(ARGV[3]) then return '' end

-- The lowest of the last ones is the price that has held.
local lowest = nil
for _, entry in ipairs(seen) do
  local level = string.match(entry, '%S+$')
  if not lowest or tonumber(level) < tonumber(lowest) then lowest = level end
end
return lowest
