-- Records a trusted price, and returns the level that has held for the required polls, or '' after fewer polls.
--
-- KEYS[1] limit_seen:{<pair>}: the last prices, '<mark> <level>', newest first
-- ARGV: mark, level, polls, ms without a price after which earlier prices no longer count
--
-- A price counts once, however often it is recorded: the mark identifies it.
local last = redis.call('LINDEX', KEYS[1], 0)
if not last or string.match(last, '^%S+') ~= ARGV[1] then
  redis.call('LPUSH', KEYS[1], ARGV[1] .. ' ' .. ARGV[2])
  redis.call('LTRIM', KEYS[1], 0, ARGV[3] - 1)
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
local seen = redis.call('LRANGE', KEYS[1], 0, ARGV[3] - 1)
if #seen < tonumber(ARGV[3]) then return '' end

-- The lowest of the last prices is the level that has held.
local lowest = nil
for _, entry in ipairs(seen) do
  local level = string.match(entry, '%S+$')
  if not lowest or tonumber(level) < tonumber(lowest) then lowest = level end
end
return lowest
