-- What the other scripts share: reading a list of paths, one a line, and the line of figures that `run` reads.

local M = {}

function M.read(name)
  local list = {}
  for line in assert(io.open(name)):lines() do
    if line ~= "" then list[#list + 1] = line end
  end
  assert(#list > 0, name .. " lists nothing")
  return list
end

-- A function that gives the next of `list` each time, for ever. Threads, by their number, begin at different places, so that they
-- do not march in step.
function M.rotation(list, number)
  local at = (number * 7919) % #list
  return function()
    at = at % #list + 1
    return list[at]
  end
end

function M.done(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format("RESULT %d %.6f %d %.3f %.3f %d\n", summary.requests, summary.duration / 1e6, summary.bytes,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, failed))
end

return M
