-- Jobs that are being worked on: ARGV holds the milliseconds of a lease, then ids. One
-- that is not known is left alone: nobody would take it out again.

local until_ms = number(now_ms() + ARGV[1])
for i = 2, #ARGV do
  local id = ARGV[i]
  local job = job_of(id)
  if job then
    take_out(id, job)
    redis.call('ZADD', key('leases'), until_ms, id)
  end
end
return 1
