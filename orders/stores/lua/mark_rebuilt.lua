-- Records that Redis holds all that Postgres knows, unless the epoch in which the rebuild began, ARGV[1], is over.
if redis.call('GET', 'store:epoch') ~= ARGV[1] then return 0 end
redis.call('SET', 'orders:rebuilt', ARGV[1])
return 1
