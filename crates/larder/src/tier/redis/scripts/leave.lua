-- Leave: a reader serves nothing any more. ARGV: 5 its id. Answers the header.
redis.call('HDEL', READERS, ARGV[5])
return {header()}
