-- Makes a lease last longer, if it is still the caller's.
--
-- KEYS 1: the lease   ARGV 1: the caller's token   2: for how long, ms

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
