-- The store was read from end to end, and all that waits there is here: unless this was
-- emptied meanwhile, and with it the mark ARGV[1] that was set before.

if redis.call('DEL', key('pass:' .. ARGV[1])) == 0 then
  return 0
end
redis.call('SET', key('whole'), 1)
return 1
