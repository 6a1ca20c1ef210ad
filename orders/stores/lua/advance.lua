-- Moves orders by compare-and-set.  Besides it only finish.lua changes a status, and place.lua, which replaces a live
-- order that contradicts Postgres.
--
-- ARGV[1]   number of the epoch
-- ARGV[2]   maximum entries of the feed
-- ARGV[3..] moves, MessagePack:
--   id, status    the order and its expected status
--   seq, fence    the expected seq of its last event, and the fence of its claim (absent: any claim); or
--   tx            the transaction it is expected to be submitted as
--   to, mode, look_in, unused, sent, body   see `settle` in moves.lua
--   events        JSON texts, one for each status step on the way to `to`
-- Returns the ids that moved.
local won, feed = {}, {}
for i = 3, #ARGV do
  local move = cmsgpack.unpack(ARGV[i])
  local id, h, n = move.id, standing(move.id), #move.events
  if stands(h, move) then
    settle(id, h, move, h.seq + n)
    for s = 1, n do
      local seq = h.seq + s
      tell(feed, id, seq, numbered(move.events[s], move, seq), move.mode == 'final' and s == n)
    end
    won[#won+1] = id
  elseif h.status == move.to and (not move.seq or h.seq == move.seq + n) then
    -- Idempotent: run again after a lost reply, the move finds its own event and counts as done.
    local last = redis.call('XREVRANGE', key_of(id) .. ':events', '+', '-', 'COUNT', 1)
    if #last > 0 and last[1][2][2] == numbered(move.events[n], move, h.seq) then won[#won+1] = id end
  end
end
publish(feed, ARGV[2])
return won
