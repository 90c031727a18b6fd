-- Readers: who reads, and how far. Answers the header and, unless it is closing, the hash: ids, and what each said.
if ctl.state ~= 'open' then return {header()} end
return {header(), redis.call('HGETALL', READERS)}
