-- Returns orders that are due, and postpones each with exponential backoff: 5 s, 10 s, 20 s ... at most 60 s.
-- An order that is left to the queue is always postponed by the first pause only.
--
-- ARGV[1] how many, ARGV[2] first pause in ms, ARGV[3] longest pause in ms
-- ARGV[4] 1 while the queue is long: orders not yet started are then left to the messages in the queue
-- Returns {to execute}, {live state missing}, {waiting, to be checked}, {end or amendment to be committed}
local hints, missing, waiting, intended = {}, {}, {}, {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', 'orders:open', '-inf', now, 'LIMIT', 0, ARGV[1])) do
  local key = key_of(id)
  local h = redis.call('HMGET', key, 'status', 'waits', 'intent')
  if h[1] == 'pending' and not h[2] and not h[3] and ARGV[4] == '1' then
    redis.call('ZADD', 'orders:open', now + ARGV[2], id)
  elseif h[1] then
    local sweeps = redis.call('HINCRBY', key, 'sweeps', 1)
    local put_off = math.min(tonumber(ARGV[2]) * 2 ^ math.min(sweeps - 1, 10), tonumber(ARGV[3]))
    redis.call('ZADD', 'orders:open', now + put_off, id)
    if h[3] then intended[#intended+1] = id
    elseif h[1] == 'pending' and h[2] then waiting[#waiting+1] = id
    else hints[#hints+1] = id end
  else
    redis.call('ZREM', 'orders:open', id)
    missing[#missing+1] = id
  end
end
return {hints, missing, waiting, intended}
