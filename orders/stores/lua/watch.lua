-- Has armed sniper orders watch for a condition that is not met yet.
--
-- ARGV: for each order its id, the token's mint, the index that watches the condition, the threshold
for i = 1, #ARGV, 4 do
  local id, h = ARGV[i], standing(ARGV[i])
  if h.status == 'pending' and not h.intent then
    leave_book(id, h)
    redis.call('HSET', key_of(id), 'place', watch(id, ARGV[i+1], ARGV[i+2], ARGV[i+3]))
    redis.call('ZREM', 'orders:open', id)
  end
end
