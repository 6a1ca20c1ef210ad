-- Functions for the scripts that move orders.  The clock and the functions of book/places.lua come before this file.
--
-- | key | what is done to it |
-- |---|---|
-- | order:{id} | the order's live state |
-- | order:{id}:events | the order's events; entry ids are <seq>-0 |
-- | orders:open | when the order is due for a worker or the sweep |

local function key_of(id) return 'order:{' .. id .. '}' end

local function standing(id)
  local h = redis.call('HMGET', key_of(id), 'status', 'seq', 'fence', 'place', 'waits', 'intent', 'tx')
  return {status = h[1], seq = tonumber(h[2]), fence = h[3], place = h[4], waits = h[5], intent = h[6], tx = h[7]}
end

-- Tells whether an order is in the state that the move expects.  While its end or amendment is being committed, no move
-- matches.  A move out of `submitted` compares the transaction instead of the seq.
local function stands(h, move)
  if h.status ~= move.status or h.intent then return false end
  if move.tx then return h.tx == move.tx end
  return h.seq == move.seq and (not move.fence or h.fence == move.fence)
end

-- A move that compares the transaction does not know the seq: its event has "seq":0 after orderId and epoch, and this
-- function fills in the number.
local function numbered(event, move, seq)
  if move.seq then return event end
  return (string.gsub(event, '"seq":0,', '"seq":' .. seq .. ',', 1))
end

local function leave_book(id, h)
  if h.place and h.place ~= '' then
    leave(id, h.place)
    redis.call('HSET', key_of(id), 'place', '')
  end
end

local function tell(feed, id, seq, event, final)
  redis.call('XADD', key_of(id) .. ':events', seq .. '-0', 'e', event)
  feed[#feed+1] = id .. ' ' .. seq .. (final and ' 1 ' or ' 0 ') .. event
end

local function publish(feed, most)
  if #feed > 0 then redis.call('XADD', 'orders:events', 'MAXLEN', '~', most, '*', 'b', table.concat(feed, '\n')) end
end

-- Writes the new state of an order.  `mode` says how the order continues:
--   keep     its worker keeps the claim
--   free     any worker may claim it at once
--   release  any worker may claim it after look_in ms; `unused`: nothing was tried, so the attempt does not count
--   submit   it is submitted as transaction `sent`, which is checked after look_in ms
--   wait     it rests in the book, or waits outside it for look_in ms; `body` holds its terms if they changed
--   final    it has reached a final status
local function settle(id, h, move, seq)
  local key = key_of(id)
  leave_book(id, h)
  if h.waits and h.status == 'pending' and move.mode ~= 'wait' then expire_at(id, nil) end
  if move.mode == 'keep' then
    redis.call('HSET', key, 'status', move.to, 'seq', seq, 'lease', now + move.look_in)
    return
  end
  redis.call('HSET', key, 'status', move.to, 'seq', seq, 'fence', '', 'lease', 0, 'ready', 0, 'sweeps', 0)
  if move.mode == 'final' then
    redis.call('ZREM', 'orders:open', id)
  elseif move.mode == 'free' then
    redis.call('ZADD', 'orders:open', now + move.look_in, id)
  elseif move.mode == 'submit' then
    redis.call('HSET', key, 'tx', move.sent)
    redis.call('HDEL', key, 'lapses', 'away')
    redis.call('ZADD', 'orders:open', now + move.look_in, id)
  elseif move.mode == 'release' then
    redis.call('HSET', key, 'ready', now + move.look_in)
    redis.call('ZADD', 'orders:open', now + move.look_in, id)
    redis.call('HDEL', key, 'lapses', 'tx')
    if move.unused then
      -- The number of a committed attempt is not reused: the new transaction could have the same bytes.
      if h.status == 'submitted' then redis.call('HINCRBY', key, 'base', 1)
      else redis.call('HINCRBY', key, 'attempt', -1) end
      redis.call('HINCRBY', key, 'away', 1)
    else redis.call('HDEL', key, 'away') end
  elseif move.mode == 'wait' then
    if move.body then redis.call('HSET', key, 'order', move.body) end
    local order = cjson.decode(redis.call('HGET', key, 'order'))
    expire_at(id, order.expiresAt)
    if move.look_in == 0 then
      redis.call('HSET', key, 'place', rest(id, order))
      redis.call('ZREM', 'orders:open', id)
    else redis.call('ZADD', 'orders:open', now + move.look_in, id) end
    if h.status == 'pending' then redis.call('HSET', key, 'returns', 0)
    else redis.call('HINCRBY', key, 'returns', 1) end
    redis.call('HDEL', key, 'lapses', 'away', 'tx')
    redis.call('HSET', key, 'base', redis.call('HGET', key, 'attempt'))
  end
end
