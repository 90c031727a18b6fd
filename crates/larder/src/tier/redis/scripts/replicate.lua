-- Replicate: something is written, so that who waits for replicas on this line waits for all that was written before.
-- Answers the header.
if ctl.state == 'open' then set({asked = text(now)}) end
return {header()}
