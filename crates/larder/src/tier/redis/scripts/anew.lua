-- Anew: the server tells a log that has ended, as the caller knows. ARGV: 5 its generation. Answers the header.
if ctl.gen == ARGV[5] then begin_anew() end
return {header()}
