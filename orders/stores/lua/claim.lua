-- Claims orders for one worker.  A worker with a live lease keeps the order.  A resting order cannot be claimed before
-- it has triggered.
--
-- ARGV[1]   number of the epoch
-- ARGV[2]   fence: identifies this claim; run again after a lost reply, the script finds it and answers the same
-- ARGV[3]   lease, ms
-- ARGV[4]   1 if the caller executes each order on its own, outside a batch
-- ARGV[5..] order ids
-- Returns {'claimed', id, status, seq, attempt, body, base, returns, away} or {kind, id}, where kind is `missing`,
-- `submitted`, `intended` (its end or amendment must be committed) or `alone` (it must be executed on its own).
--
-- A claim counts as an attempt, so a worker crash counts, too.  An order that two workers in a row did not hand back
-- may have crashed them; the third time it is executed on its own, so that it takes no other orders down.  A lease that
-- lapsed because Redis was down does not count: it was taken in an epoch that is over.
local fence, answers = ARGV[2], {}
for i = 5, #ARGV do
  local id, key = ARGV[i], key_of(ARGV[i])
  local h = redis.call('HMGET', key, 'status', 'seq', 'attempt', 'lease', 'ready', 'order', 'fence', 'waits', 'base',
    'returns', 'intent', 'lapses', 'held', 'away')
  local status, lease, ready, lapses = h[1], tonumber(h[4]), tonumber(h[5]), tonumber(h[12] or '0')
  local moving = (status == 'pending' and not h[8]) or status == 'triggered' or status == 'routing'
    or status == 'building'
  if not status then answers[#answers+1] = {'missing', id}
  elseif h[7] == fence then
    answers[#answers+1] = {'claimed', id, status, h[2], h[3], h[6], h[9] or 0, h[10] or 0, h[14] or 0}
  elseif h[11] and lease <= now then answers[#answers+1] = {'intended', id}
  elseif status == 'submitted' then answers[#answers+1] = {'submitted', id}
  elseif moving and math.max(lease, ready) > now then
    -- The claim came too early.  The order is due again when its lease or pause ends, not after the sweep's backoff.
    redis.call('ZADD', 'orders:open', math.max(lease, ready), id)
  elseif moving then
    local lapsed, ours = lease > 0, h[13] == ARGV[1]
    if lapsed and ours then lapses = lapses + 1 end
    if lapses >= 2 and ARGV[4] ~= '1' then answers[#answers+1] = {'alone', id}
    else
      local attempt = h[3]
      if ours or not lapsed then attempt = redis.call('HINCRBY', key, 'attempt', 1) end
      if lapsed and ours then redis.call('HSET', key, 'lapses', lapses) end
      redis.call('HSET', key, 'fence', fence, 'lease', now + ARGV[3], 'held', ARGV[1], 'sweeps', 0)
      redis.call('ZADD', 'orders:open', now + ARGV[3], id)
      answers[#answers+1] = {'claimed', id, status, h[2], attempt, h[6], h[9] or 0, h[10] or 0, h[14] or 0}
    end
  end
end
return answers
