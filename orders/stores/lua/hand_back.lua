-- Hands back orders that a worker could not continue with, with their status unchanged.
--
-- ARGV[1]   fence
-- ARGV[2]   1 if a try failed with an error, which counts like a worker crash; 0 if nothing could be tried
-- ARGV[3]   backoff after the first time, ms; doubles each further time
-- ARGV[4]   longest backoff, ms
-- ARGV[5..] order ids
-- Returns the ids that were held under this fence.
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
