-- Moves armed sniper orders to the index of the condition they now wait for.
--
-- ARGV: for each order its id, the token's mint, the index for the condition, the threshold
for i = 1, #ARGV, 4 do
  local id, h = ARGV[i], standing(ARGV[i])
  if h.status == 'pending' and not h.intent then
    leave_book(id, h)
    redis.call('HSET', key_of(id), 'place', watch(id, ARGV[i+1], ARGV[i+2], ARGV[i+3]))
    redis.call('ZREM', 'orders:open', id)
  end
end
