-- Gives a lease back, if it is still the caller's, and tells those who wait for it.
--
-- KEYS 1: the lease   ARGV 1: the caller's token   2: the channel

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('PUBLISH', ARGV[2], KEYS[1])
return 1
