-- Takes orders out of a place in the book where they do not rest.
--
-- ARGV[1] the place, ARGV[2..] order ids.  Returns how many that were.
local evicted = 0
for i = 2, #ARGV do
  local h = standing(ARGV[i])
  if h.status ~= 'pending' or h.place ~= ARGV[1] then
    leave(ARGV[i], ARGV[1])
    evicted = evicted + 1
  end
end
return evicted
