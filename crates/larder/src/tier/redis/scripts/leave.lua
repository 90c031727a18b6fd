-- Leave: a reader serves nothing any more. ARGV: 5 its id. Answers the header.
if redis.call('HDEL', READERS, ARGV[5]) == 1 then expect(-1) end
return {header()}
