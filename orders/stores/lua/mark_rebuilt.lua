-- Notes that Redis holds all that Postgres knows, if the epoch in which that was begun, ARGV[1], is not over.
if redis.call('GET', 'store:epoch') ~= ARGV[1] then return 0 end
redis.call('SET', 'orders:rebuilt', ARGV[1])
return 1
