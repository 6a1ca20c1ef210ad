-- Removes orders from a place in the book that is not theirs.
--
-- ARGV[1] the place, ARGV[2..] order ids.  Returns the number removed.
local evicted = 0
for i = 2, #ARGV do
  local h = standing(ARGV[i])
  if h.status ~= 'pending' or h.place ~= ARGV[1] then
    leave(ARGV[i], ARGV[1])
    evicted = evicted + 1
  end
end
return evicted
