-- Hands orders back that a worker could not go on with, as they stand.
--
-- ARGV[1]   fence
-- ARGV[2]   1 if something was tried, and went wrong: it counts like a worker's death; 0 if nothing could be
-- ARGV[3]   backoff: ms after the first time, doubled with each further one
-- ARGV[4]   and at the most
-- ARGV[5..] order ids
-- Returns the ids that were the worker's to hand back.
local back = {}
for i = 5, #ARGV do
  local id, key = ARGV[i], key_of(ARGV[i])
  local h = redis.call('HMGET', key, 'fence', 'lease', 'intent')
  if h[1] == ARGV[1] and h[2] ~= '0' and not h[3] then
    local away = redis.call('HINCRBY', key, 'away', 1)
    local pause = math.min(tonumber(ARGV[3]) * 2 ^ math.min(away - 1, 10), tonumber(ARGV[4]))
    if ARGV[2] == '1' then redis.call('HINCRBY', key, 'lapses', 1)
    else redis.call('HINCRBY', key, 'attempt', -1) end
    redis.call('HSET', key, 'fence', '', 'lease', 0, 'ready', now + pause, 'sweeps', 0)
    redis.call('ZADD', 'orders:open', now + pause, id)
    back[#back+1] = id
  end
end
return back
