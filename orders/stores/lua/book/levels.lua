-- Returns the lowest prices at which orders of a pair rest, each with its number of orders: the lowest prices are the
-- nearest and trigger first.
--
-- KEYS[1] limit_levels:{<pair>}, read.  ARGV: pair, how many prices
local found = {}
for _, price in ipairs(redis.call('ZRANGE', KEYS[1], 0, ARGV[2] - 1)) do
  found[#found+1] = price
  found[#found+1] = redis.call('ZCARD', 'limit_bucket:{' .. ARGV[1] .. '}:' .. price)
end
return found
