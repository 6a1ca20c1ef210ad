-- Makes finished orders expire from Redis after ARGV[1] seconds.  ARGV[2..]: order ids.
for i = 2, #ARGV do
  redis.call('EXPIRE', key_of(ARGV[i]), ARGV[1])
  redis.call('EXPIRE', key_of(ARGV[i]) .. ':events', ARGV[1])
end
