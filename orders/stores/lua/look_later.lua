-- Takes orders that wait out of the book for a while: their price is reached, and they may not fire.
--
-- ARGV[1] for how many ms, then order ids.  The sweep puts them back; one that has moved on is left as it is.
for i = 2, #ARGV do
  local id = ARGV[i]
  local h = standing(id)
  if h.status == 'pending' and h.waits and not h.intent then
    leave_book(id, h)
    redis.call('ZADD', 'orders:open', now + ARGV[1], id)
  end
end
